import { createRemoteJWKSet, jwtVerify } from 'jose'
import { createVerifier } from '../../server/verifier/verifier.ts'
import { ratio, type Bench, type Line, type Row } from './bench.ts'
import type { JobKind } from './load.ts'

/** Sign-in, logout, and calls that only verify a token; then the verifier beside bare `jose`. */
export async function benchProcedures(bench: Bench): Promise<void> {
  const database = await bench.database('procedures')
  const people = await bench.fleet(database, { sessions: 1_000, eventsEach: 1, sessionsPerUser: 1 })
  const many = { sessions: 40_000, eventsEach: 1, sessionsPerUser: 10 }
  const leaving = await bench.fleet(database, many)
  const server = await bench.server('full', database)
  const { url, child } = server
  await bench.load.enlist('people', people)
  await bench.load.enlist('leaving', leaving)

  const line = (kind: JobKind, name: string, fleet = 'people'): Line => ({
    run: () => bench.measure({ fleet, kind, url, connections: 64 }, { name, child }),
  })
  // Every session gets an access token, and the server warms up.
  await line('rotate', 'rotation').run()
  const [held] = await bench.load.child.call('accessTokens', 'people')
  const verifying = verifierLines(bench, { url, accessToken: held })
  const lines = [
    line('sign-in', 'sign-in'),
    line('logout', 'logout', 'leaving'),
    line('me', 'me'),
    ...verifying,
  ]
  const made = await bench.rounds(lines)
  bench.targets.push({
    name: 'verifier ÷ bare jwtVerify',
    value: ratio([made.at(-2)!, made.at(-1)!], 'perSecond'),
    atLeast: 0.9,
  })
}

/** Runs in this process, because verification needs no server. */
function verifierLines(bench: Bench, { url, accessToken }: { url: string; accessToken: string }) {
  const audience = url
  const verifier = createVerifier({ issuer: url, audience })
  const keys = createRemoteJWKSet(new URL(`${url}/.well-known/jwks.json`))
  const options = { issuer: url, audience, algorithms: ['ES256'], typ: 'at+jwt' }
  const seconds = bench.options.seconds / 2
  return [
    { run: () => timed('verifier', seconds, () => verifier.verify(accessToken)) },
    { run: () => timed('bare jwtVerify', seconds, () => jwtVerify(accessToken, keys, options)) },
  ]
}

/** Runs 64 calls at a time, as a server does. */
async function timed(name: string, seconds: number, work: () => Promise<unknown>): Promise<Row> {
  for (let i = 0; i < 500; i++) await work()
  const cpuBefore = process.cpuUsage()
  const startedAt = performance.now()
  let count = 0
  while (performance.now() < startedAt + seconds * 1000) {
    await Promise.all(Array.from({ length: 64 }, work))
    count += 64
  }
  const { user, system } = process.cpuUsage(cpuBefore)
  const none = Number.NaN
  return {
    name,
    connections: 64,
    perSecond: count / ((performance.now() - startedAt) / 1000),
    p50Ms: none,
    p99Ms: none,
    nodeCpu: ((user + system) / 1e6 / count) * 1000,
    mainThreadCpu: none,
    postgresCpu: none,
    loadCpu: none,
  }
}
