import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { lockFamilies } from '../../db/ledger/locks.ts'
import { inTransaction } from '../../db/connection/transaction.ts'
import { revokeLocked } from '../../server/sessions/revocation.ts'
import { connect } from '../../db/connection/connect.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { moveClock } from '../support/clock.ts'
import { feedToken, slowDownPolls, readFeedSoFar, waitForTwoPolls } from '../support/feed.ts'
import { waitFor } from '../support/wait.ts'
import { auth, mutate, query } from '../support/http.ts'
import { testCaller } from '../support/ledger.ts'
import { metricOf } from '../support/metrics.ts'
import { cli } from '../support/cli.ts'
import { startServer } from '../support/server.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { startDatabaseWire } from '../support/wire.ts'

// Real processes take a while to start, and the bound is five seconds.
const timeout = 120_000

/** The status of `me`, and the reason of a refusal. */
async function me(url: string, accessToken: string): Promise<string> {
  const { status, reason } = await query(url, 'me', accessToken)
  return reason === undefined ? String(status) : `${status} ${reason}`
}

const revoked = '401 access_token_revoked'

function lagSeconds(url: string): Promise<number> {
  return metricOf(url, 'token_ledger_revocation_lag_seconds')
}

/** Two processes on one database, the second behind a wire that can be cut. */
async function startTwo(env: Record<string, string> = {}) {
  const owner = await freshDatabase()
  const wire = await startDatabaseWire(owner.url)
  const common = { ACCESS_TOKEN_AUDIENCE: 'both', PUBLIC_URL: 'http://auth.test', ...env }
  const [a, b] = await Promise.all([startServer(owner.url, common), startServer(wire.url, common)])
  return {
    owner,
    wire,
    a,
    b,
    /** Signs in at the first process. */
    begin: (email?: string) => signIn({ url: a.url, owner }, email),
    async [Symbol.asyncDispose]() {
      await Promise.all([a.kill('SIGTERM'), b.kill('SIGTERM')])
      await wire[Symbol.asyncDispose]()
      await owner[Symbol.asyncDispose]()
    },
  }
}

/** For the tests that break neither the processes nor their wire. */
let shared: Awaited<ReturnType<typeof startTwo>>
beforeAll(async () => {
  shared = await startTwo({ ROTATION_GRACE_SECONDS: '0', REVOCATIONS_TOKEN: feedToken })
})
afterAll(() => shared[Symbol.asyncDispose]())

test(
  'AT-08, V6 (ASVS 7.4.1): after every way to end a session, another process refuses its access token soon',
  { timeout },
  async () => {
    const { a, b, owner, begin } = shared
    const admin = await begin(await adminOf(owner))
    const ends: Record<string, (s: Awaited<ReturnType<typeof begin>>) => Promise<unknown>> = {
      logout: ({ refreshToken }) => auth(a.url, 'logout', { refreshToken }),
      'its own word': ({ accessToken, familyId }) =>
        mutate(a.url, 'sessions.revoke', accessToken, { familyId }),
      'an admin': ({ familyId }) =>
        mutate(a.url, 'admin.sessions.revoke', admin.accessToken, { familyId, reason: 'test' }),
      'a disabled user': ({ userId }) =>
        mutate(a.url, 'admin.users.disable', admin.accessToken, { userId }),
      'the command line': ({ familyId }) =>
        cli(owner.url, ['sessions', 'revoke', familyId, '--reason', 'test']),
      'the command line, erasing': ({ email }) => cli(owner.url, ['user', 'erase', email]),
      'a spent token that came back': async ({ refreshToken }) => {
        await auth(a.url, 'refresh', { refreshToken })
        await auth(a.url, 'refresh', { refreshToken })
      },
      'a new password': async ({ email }) => {
        const other = await signIn({ url: a.url, owner }, email)
        await mutate(a.url, 'account.changePassword', other.accessToken, {
          currentPassword: testPassword,
          newPassword: `${testPassword} again`,
        })
        expect(await me(b.url, other.accessToken)).toBe('200')
      },
    }
    const bystander = await begin()
    for (const [how, end] of Object.entries(ends)) {
      const session = await begin()
      expect({ how, says: await me(b.url, session.accessToken) }).toEqual({ how, says: '200' })
      await end(session)
      await expect
        .poll(async () => ({ how, says: await me(b.url, session.accessToken) }))
        .toEqual({ how, says: revoked })
      await expect.poll(() => me(a.url, session.accessToken)).toBe(revoked)
    }
    expect(await me(b.url, bystander.accessToken)).toBe('200')
  },
)

test(
  'AT-08, V6 (ASVS 7.4.1): sessions.*, account.* and admin.* refuse at once in every process (docs/guides/services.md)',
  { timeout },
  async () => {
    const { a, b, owner, begin } = shared
    const email = await adminOf(owner)
    const calls = [
      (token: string) => query(b.url, 'sessions.list', token),
      (token: string) => mutate(b.url, 'sessions.revokeOthers', token),
      (token: string) => query(b.url, 'admin.users.list', token),
      (token: string) =>
        mutate(b.url, 'account.changePassword', token, {
          currentPassword: testPassword,
          newPassword: `${testPassword} again`,
        }),
    ]
    for (const call of calls) {
      const { accessToken, refreshToken } = await begin(email)
      await auth(a.url, 'logout', { refreshToken })
      expect((await call(accessToken)).reason).toBe('access_token_revoked')
    }
  },
)

test(
  'FS-01, AT-08 (ASVS 16.5.3): without its database a process answers `me` for five seconds, then 503; afterwards it refuses what ended meanwhile',
  { timeout },
  async () => {
    await using two = await startTwo()
    const { a, b, wire } = two
    const [stays, ends] = [await two.begin(), await two.begin()]
    await expect.poll(() => lagSeconds(b.url)).toBeLessThan(2)
    expect(await me(b.url, ends.accessToken)).toBe('200')
    wire.cut()
    const cutAt = performance.now()
    await auth(a.url, 'logout', { refreshToken: ends.refreshToken })
    // The process can only have answered from memory.
    const answers = [await me(b.url, stays.accessToken)]
    while (answers.at(-1) === '200' && performance.now() - cutAt < 30_000) {
      answers.push(await me(b.url, stays.accessToken))
      await sleep(20)
    }
    expect(new Set(answers)).toEqual(new Set(['200', '503 service_unavailable']))
    expect(await me(b.url, ends.accessToken)).toBe('503 service_unavailable')
    expect(await lagSeconds(b.url)).toBeGreaterThan(5)
    expect(await query(b.url, 'sessions.list', stays.accessToken)).toMatchObject({ status: 503 })
    wire.mend()
    // Never "200" on the way: while the process is behind, it asks the database.
    const after: string[] = []
    await expect
      .poll(async () => {
        after.push(await me(b.url, ends.accessToken))
        return after.at(-1)
      })
      .toBe(revoked)
    expect(after).not.toContain('200')
    await expect.poll(() => me(b.url, stays.accessToken)).toBe('200')
    await expect.poll(() => lagSeconds(b.url)).toBeLessThan(2)
    expect(await me(b.url, ends.accessToken)).toBe(revoked)
  },
)

test(
  'a process that is behind asks the database: `me` is right even when polls fail',
  { timeout },
  async () => {
    await using two = await startTwo()
    const { a, b, owner } = two
    const [stays, ends, first] = [await two.begin(), await two.begin(), await two.begin()]
    // Queries about one session still work.
    await slowDownPolls(owner)
    await auth(a.url, 'logout', { refreshToken: first.refreshToken })
    await expect.poll(() => lagSeconds(b.url), { timeout: 30_000 }).toBeGreaterThan(5)
    expect(await me(b.url, stays.accessToken)).toBe('200')
    await auth(a.url, 'logout', { refreshToken: ends.refreshToken })
    expect(await me(b.url, ends.accessToken)).toBe(revoked)
    expect(await me(b.url, stays.accessToken)).toBe('200')
  },
)

test(
  'FS-01 (ASVS 16.5.3): with a database that accepts queries and never answers, `me` is answered 503 and does not hang',
  { timeout },
  async () => {
    await using two = await startTwo()
    const { b, wire } = two
    const { accessToken } = await two.begin()
    await expect.poll(() => me(b.url, accessToken)).toBe('200')
    wire.swallow()
    await expect
      .poll(() => me(b.url, accessToken), { timeout: 30_000 })
      .toBe('503 service_unavailable')
  },
)

test(
  'an end is found even if the LISTEN connection is lost at the same time',
  { timeout },
  async () => {
    const { a, b, owner, begin } = shared
    const lost: number[] = []
    for (let i = 0; i < 5; i++) {
      const { accessToken, refreshToken } = await begin()
      await expect.poll(() => me(b.url, accessToken)).toBe('200')
      const following = async () =>
        await owner.ownerSql<{ pid: number }[]>`
          select pid from pg_stat_activity
          where datname = current_database() and query like '%order by occurred_at, family_id%'
            and pid <> pg_backend_pid() and pid <> all(${lost}::integer[])`
      // One of each process; one that was lost before is opened again first.
      await expect.poll(async () => (await following()).length).toBe(2)
      for (const { pid } of await following()) {
        await owner.ownerSql`select pg_terminate_backend(${pid})`
        lost.push(pid)
      }
      await auth(a.url, 'logout', { refreshToken })
      await expect.poll(() => me(b.url, accessToken)).toBe(revoked)
    }
  },
)

test(
  'a process that starts knows the sessions that ended before, without a query for each',
  { timeout },
  async () => {
    await using two = await startTwo()
    const { a, owner } = two
    const { accessToken, familyId, refreshToken } = await two.begin()
    await auth(a.url, 'logout', { refreshToken })
    // Longer ago than a poll reaches back by itself.
    await moveClock(owner.ownerSql, 6_000)
    await using wire = await startDatabaseWire(owner.url)
    await using late = await startServer(wire.url, {
      ACCESS_TOKEN_AUDIENCE: 'both',
      PUBLIC_URL: 'http://auth.test',
      REVOCATIONS_TOKEN: feedToken,
    })
    expect(await me(late.url, accessToken)).toBe(revoked)
    expect((await readFeedSoFar(late.url)).map(({ data }) => data.sid)).toEqual([familyId])
    wire.cut()
    expect(await me(late.url, accessToken)).toBe(revoked)
  },
)

test(
  'an end that is committed long after its time is refused once it is committed, and not before',
  { timeout },
  async () => {
    await using two = await startTwo({ REVOCATIONS_TOKEN: feedToken })
    const { b, owner } = two
    const { accessToken, familyId } = await two.begin()
    const database = connect(owner.url, { role: 'token_ledger_app', maxConnections: 3 })
    const by = { reason: 'logout', actorUserId: null, caller: testCaller } as const
    await inTransaction(database.transactions, async (tx) => {
      const { txid, families } = await lockFamilies(tx, [familyId])
      await revokeLocked(tx, { txid, families: [...families.values()], by })
      // Longer than a poll reaches back by itself; a few polls see nothing of it.
      await moveClock(owner.ownerSql, 8_000)
      await waitForTwoPolls(b.url)
      expect(await me(b.url, accessToken)).toBe('200')
    })
    await expect.poll(() => me(b.url, accessToken)).toBe(revoked)
    await database.close()
  },
)

test(
  'only the end of a session is notified: no sign-in, no refresh and no replay',
  { timeout },
  async () => {
    const { a: server, owner } = shared
    const notifications: string[] = []
    const listener = postgres(owner.url, { max: 1, onnotice: () => {} })
    try {
      await listener.listen('token_ledger_ends', (payload) => notifications.push(payload))
      let { refreshToken } = await signIn({ url: server.url, owner })
      for (let i = 0; i < 5; i++) {
        const { data } = await auth(server.url, 'refresh', { refreshToken })
        refreshToken = data.refreshToken
      }
      const attempt = { refreshToken, attemptId: randomUUID() }
      const first = await auth(server.url, 'refresh', attempt)
      const again = await auth(server.url, 'refresh', attempt)
      expect(again.data.refreshToken).toBe(first.data.refreshToken)
      await auth(server.url, 'logout', { refreshToken: first.data.refreshToken })
      await waitFor(async () => notifications.length > 0)
      // Notifications come in the order of the commits: none came before this one.
      expect(notifications).toHaveLength(1)
    } finally {
      await listener.end()
    }
  },
)

test(
  'forged notifications revoke no session and do not stop the following',
  { timeout },
  async () => {
    const { a, b, owner, begin } = shared
    const [stays, ends] = [await begin(), await begin()]
    const before = b.output().length
    for (const payload of ['', 'nonsense', stays.familyId, '-1', '9'.repeat(15), '9'.repeat(7_000)])
      await owner.ownerSql`select pg_notify('token_ledger_ends', ${payload})`
    await waitForTwoPolls(b.url)
    expect(await me(b.url, stays.accessToken)).toBe('200')
    await auth(a.url, 'logout', { refreshToken: ends.refreshToken })
    await expect.poll(() => me(b.url, ends.accessToken)).toBe(revoked)
    expect(await me(b.url, stays.accessToken)).toBe('200')
    expect(b.output().slice(before)).not.toContain('cannot be followed')
  },
)

async function adminOf(owner: FreshDatabase): Promise<string> {
  return (await makeUser(owner.url, undefined, 'admin')).email
}
