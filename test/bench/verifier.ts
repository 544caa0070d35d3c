import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createVerifier as createFastJwt } from 'fast-jwt'
import { createRemoteJWKSet, exportSPKI, importJWK, jwtVerify, type CryptoKey } from 'jose'
import { createVerifier, type Verifier } from '../../server/verifier/verifier.ts'
import { startIssuer } from '../verifier/issuer.ts'
import { ratio, type Bench, type Line, type Row } from './bench.ts'

const tokensCount = 2_000

type Check = (token: string) => Promise<unknown>

/** The verifier beside bare `jose` and beside `fast-jwt` with its cache, one call at a time and 64 at once. */
export async function benchVerifier(bench: Bench): Promise<void> {
  await using issuer = await startIssuer()
  const tokens: string[] = []
  for (let i = 0; i < tokensCount; i++)
    tokens.push(
      await issuer.mint({ claims: { sid: crypto.randomUUID(), email: `user${i}@example.com` } }),
    )
  const extra = await issuer.mint()

  const url = new URL(`${issuer.issuer}/.well-known/jwks.json`)
  const options = { issuer: issuer.issuer, audience: issuer.audience }
  const keys = createRemoteJWKSet(url)
  const bare: Check = async (token) =>
    jwtVerify(token, keys, { ...options, algorithms: ['ES256'], typ: 'at+jwt' })
  const known = createVerifier(options)
  const repeated: Check = async (token) => known.verify(token)
  const publicKey = (await importJWK(issuer.publicJwk, 'ES256', {
    extractable: true,
  })) as CryptoKey
  const fastJwt = createFastJwt({
    key: await exportSPKI(publicKey),
    algorithms: ['ES256'],
    allowedIss: issuer.issuer,
    allowedAud: issuer.audience,
    cache: 20_000,
  })
  const fast: Check = async (token) => fastJwt(token)
  const keeping = createVerifier(options)
  await keeping.verify(extra)
  bench.targets.push({
    name: 'verifier, bytes for a token it keeps',
    value: await bytesPerToken(keeping, tokens),
    atMost: 700,
  })
  for (const check of [bare, repeated, fast]) for (const token of fresh(tokens)) await check(token)

  /** A verifier that has its keys, and has seen none of the tokens. */
  const firstSight = async (): Promise<Check> => {
    const verifier = createVerifier(options)
    await verifier.verify(extra)
    return async (token) => verifier.verify(token)
  }
  const line = (name: string, atOnce: number, newCheck: () => Promise<Check>): Line => ({
    run: () => timed({ name, atOnce, tokens }, newCheck),
  })
  for (const atOnce of [1, 64]) {
    const [bareRows, repeatedRows, firstRows, fastRows] = await bench.rounds([
      line('bare jwtVerify', atOnce, async () => bare),
      line('verifier, repeated tokens', atOnce, async () => repeated),
      line('verifier, first sight', atOnce, firstSight),
      line('fast-jwt, repeated tokens', atOnce, async () => fast),
    ])
    const target = (name: string, measured: number, atLeast: number) =>
      bench.targets.push({ name: `${name}, ${atOnce} at once`, value: measured, atLeast })
    const perSecond = (ones: Row[], others: Row[]) => ratio([ones, others], 'perSecond')
    const wanted = atOnce === 1 ? 40 : 20
    target('verifier, repeated ÷ bare', perSecond(repeatedRows!, bareRows!), wanted)
    target('verifier, first sight ÷ bare', perSecond(firstRows!, bareRows!), 0.9)
    target('verifier ÷ fast-jwt, both repeated', perSecond(repeatedRows!, fastRows!), 1)
  }
}

/** What a verifier keeps for a token, in bytes of the heap. */
async function bytesPerToken(verifier: Verifier, tokens: readonly string[]): Promise<number> {
  setFlagsFromString('--expose_gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  const before = process.memoryUsage().heapUsed
  for (const token of fresh(tokens)) await verifier.verify(token)
  collect()
  return (process.memoryUsage().heapUsed - before) / tokens.length
}

/** New strings, as a server gets them: the engine has not hashed them yet. */
function fresh(tokens: readonly string[]): string[] {
  return tokens.map((token) => Buffer.from(token).toString('latin1'))
}

/** A pass over the tokens takes a few milliseconds when they are known: too short a time to compare. */
const minSeconds = 0.5

/** Passes over the tokens, each with a check of its own. Only the checks are timed. */
async function timed(
  { name, atOnce, tokens }: { name: string; atOnce: number; tokens: readonly string[] },
  newCheck: () => Promise<Check>,
): Promise<Row> {
  let checks = 0
  let seconds = 0
  let cpuSeconds = 0
  while (seconds < minSeconds) {
    const check = await newCheck()
    const given = fresh(tokens)
    const cpuBefore = process.cpuUsage()
    const startedAt = performance.now()
    for (let i = 0; i < given.length; i += atOnce)
      if (atOnce === 1) await check(given[i]!)
      else await Promise.all(given.slice(i, i + atOnce).map(check))
    seconds += (performance.now() - startedAt) / 1000
    const { user, system } = process.cpuUsage(cpuBefore)
    cpuSeconds += (user + system) / 1e6
    checks += given.length
  }
  const none = Number.NaN
  return {
    name,
    connections: atOnce,
    perSecond: checks / seconds,
    p50Ms: none,
    p99Ms: none,
    nodeCpu: (cpuSeconds / checks) * 1000,
    mainThreadCpu: none,
    postgresCpu: none,
    loadCpu: none,
  }
}
