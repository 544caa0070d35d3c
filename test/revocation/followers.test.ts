import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createVerifier } from '../../server/verifier/verifier.ts'
import type { RevocationsOptions } from '../../server/verifier/index.ts'
import { freshDatabase } from '../support/database.ts'
import { feedToken } from '../support/feed.ts'
import { fillLedger } from '../support/filled-ledger.ts'
import { auth } from '../support/http.ts'
import { startServer } from '../support/server.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'
import { startWire } from '../support/wire.ts'

// Real processes take a while to start, and the bound is five seconds.
const timeout = 120_000
const env = {
  PUBLIC_URL: 'http://auth.test',
  ACCESS_TOKEN_AUDIENCE: 'both',
  REVOCATIONS_TOKEN: feedToken,
  MAX_SESSIONS_PER_USER: '10000',
}

/** A service behind a wire that can be cut, and verifiers that follow it through that wire. */
async function startFollowed() {
  const owner = await freshDatabase()
  const server = await startServer(owner.url, env)
  const port = Number(new URL(server.url).port)
  const wire = await startWire({ host: '127.0.0.1', port })
  const verifiers: { close(): void }[] = []
  return {
    owner,
    server,
    wire,
    begin: () => signIn({ url: server.url, owner }),
    /** Adds a verifier and returns its verdict on a token: `accepted`, or the reason of the refusal. */
    follow() {
      const url = `http://127.0.0.1:${wire.port}/revocations`
      const verifier = verifierOf(server.url, { token: feedToken, url })
      verifiers.push(verifier)
      return (token: string) => outcomeOf(verifier.verify(token))
    },
    async [Symbol.asyncDispose]() {
      for (const verifier of verifiers) verifier.close()
      await wire[Symbol.asyncDispose]()
      await server.kill('SIGTERM')
      await owner[Symbol.asyncDispose]()
    },
  }
}

/** Its keys come straight from the service, because this tests the feed. */
function verifierOf(url: string, revocations: RevocationsOptions) {
  const jwksUrl = `${url}/.well-known/jwks.json`
  return createVerifier({ issuer: env.PUBLIC_URL, audience: 'both', jwksUrl, revocations })
}

function outcomeOf(checked: Promise<unknown>): Promise<string> {
  return checked.then(
    () => 'accepted',
    (error: { reason?: string }) => error.reason ?? 'an error without a reason',
  )
}

const revoked = 'access_token_revoked'
const unavailable = 'service_unavailable'

test('a feed that falls silent without closing is no longer trusted', { timeout }, async () => {
  await using followed = await startFollowed()
  const check = followed.follow()
  const { accessToken } = await followed.begin()
  expect(await check(accessToken)).toBe('accepted')
  followed.wire.lose('both')
  await expect.poll(() => check(accessToken)).toBe(unavailable)
  followed.wire.mend()
  await expect.poll(() => check(accessToken), { timeout: 30_000 }).toBe('accepted')
})

test(
  'a follower that moves between processes of the service misses nothing',
  { timeout },
  async () => {
    await using owner = await freshDatabase()
    await using a = await startServer(owner.url, env)
    await using b = await startServer(owner.url, env)
    const portOf = ({ url }: { url: string }) => Number(new URL(url).port)
    // Stands for a load balancer: it leads to one process, then to the other.
    const target = { host: '127.0.0.1', port: portOf(a) }
    await using wire = await startWire(target)
    const url = `http://127.0.0.1:${wire.port}/revocations`
    const verifier = verifierOf(a.url, { token: feedToken, url })
    try {
      const stays = await signIn({ url: a.url, owner })
      expect(await outcomeOf(verifier.verify(stays.accessToken))).toBe('accepted')
      for (const next of [b, a, b, a]) {
        const ended = await signIn({ url: a.url, owner })
        target.port = portOf(next)
        wire.snap()
        await auth(a.url, 'logout', { refreshToken: ended.refreshToken })
        await expect.poll(() => outcomeOf(verifier.verify(ended.accessToken))).toBe(revoked)
        expect(await outcomeOf(verifier.verify(stays.accessToken))).toBe('accepted')
      }
    } finally {
      verifier.close()
    }
  },
)

test('many ends at once all reach a follower', { timeout }, async () => {
  await using followed = await startFollowed()
  const { owner, server } = followed
  const user = await makeUser(owner.url)
  const { refreshToken } = await signIn({ url: server.url, owner }, user.email)
  const accessTokens: string[] = []
  // More than one page of the feed.
  for (const families of [600, 600, 1]) {
    const { accessToken } = await signIn({ url: server.url, owner }, user.email)
    accessTokens.push(accessToken)
    await fillLedger(owner.ownerSql, { userId: user.id, families })
  }
  const check = followed.follow()
  for (const token of accessTokens) expect(await check(token)).toBe('accepted')
  await auth(server.url, 'logout', { refreshToken, everywhere: true })
  for (const token of accessTokens) await expect.poll(() => check(token)).toBe(revoked)
})

test('a closed verifier does not keep its process alive', { timeout }, async () => {
  await using owner = await freshDatabase()
  await using server = await startServer(owner.url, { REVOCATIONS_TOKEN: feedToken })
  const program = `
    import { createVerifier } from './server/verifier/index.ts'
    const issuer = ${JSON.stringify(server.url)}
    const revocations = { token: ${JSON.stringify(feedToken)} }
    const verifier = createVerifier({ issuer, audience: issuer, revocations })
    setTimeout(() => verifier.close(), 1_500)`
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '--eval', program],
    { stdio: 'inherit' },
  )
  const [code] = await Promise.race([
    once(child, 'exit'),
    sleep(30_000, ['still there'], { ref: false }),
  ])
  child.kill('SIGKILL')
  expect(code).toBe(0)
})
