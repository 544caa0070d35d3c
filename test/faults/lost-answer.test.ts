import { createHash, randomUUID } from 'node:crypto'
import type { Sql } from 'postgres'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { asAdmin } from '../support/admin.ts'
import { moveClock } from '../support/clock.ts'
import { freshDatabase } from '../support/database.ts'
import { auth, type Answer } from '../support/http.ts'
import { shutGate } from '../support/gate.ts'
import { waitFor } from '../support/wait.ts'
import { startDatabaseWire, startWire } from '../support/wire.ts'
import { startServer, type ServerProcess } from '../support/server.ts'
import { makeUser, testPassword } from '../support/users.ts'

const hourMs = 3600 * 1000

/** For all tests but those that end the process: each has sessions of its own. */
let service: Service
beforeAll(async () => {
  service = await startService()
})
afterAll(() => service[Symbol.asyncDispose]())

describe('a backend that dies in the middle of a rotation', () => {
  for (const crowdSize of [0, 15]) {
    const meanwhile = crowdSize === 0 ? 'with no other request waiting' : 'with others waiting'

    test(`RT-09, FS-02 (ASVS 2.3.3): a backend dies during the insert, ${meanwhile}: the answer is 503, and the same attempt succeeds`, async () => {
      const { server, ownerSql } = service
      const session = await service.signIn()
      const crowd = await prepareCrowd(service)
      await using gate = await shutGate(ownerSql, 'insert')
      const attemptId = randomUUID()
      const lost = refresh(server, session.refreshToken, attemptId)
      const pid = await waitFor(() => gate.firstWaiter())
      await crowd.enter(crowdSize)
      await terminate(ownerSql, pid)
      expectUnavailableAnswer(await lost)
      await gate[Symbol.asyncDispose]()
      await crowd.leave()
      // Nothing was written outside of the transaction that was lost.
      expect(await kindsOf(ownerSql, session.familyId)).toEqual(['issued'])
      await expectOneRotation(service, session, attemptId)
    })

    test(`RT-09, FS-02 (ASVS 2.3.3): a backend dies as it reads the history, ${meanwhile}: the answer is 503, and the same attempt succeeds`, async () => {
      const { server, ownerSql } = service
      const session = await service.signIn()
      const crowd = await prepareCrowd(service)
      await using gate = await shutGate(ownerSql, 'user_account')
      const attemptId = randomUUID()
      const lost = refresh(server, session.refreshToken, attemptId)
      const pid = await waitFor(() => gate.firstWaiter())
      await crowd.enter(crowdSize)
      await terminate(ownerSql, pid)
      expectUnavailableAnswer(await lost)
      await gate[Symbol.asyncDispose]()
      await crowd.leave()
      expect(await kindsOf(ownerSql, session.familyId)).toEqual(['issued'])
      await expectOneRotation(service, session, attemptId)
    })

    test(`RT-09, FS-02 (ASVS 2.3.3): a backend dies while a reuse waits for its lock, ${meanwhile}: the answer is 503, and the next try is a reuse`, async () => {
      const { server, ownerSql } = service
      const { refreshToken, familyId } = await service.signIn()
      expect((await refresh(server, refreshToken)).status).toBe(200)
      const crowd = await prepareCrowd(service)
      const holder = await ownerSql.reserve()
      await holder`begin`
      await holder`select from token_ledger.token_family where family_id = ${familyId} for update`
      const lost = refresh(server, refreshToken)
      const pid = await waitFor(() => findBlocked(ownerSql))
      await crowd.enter(crowdSize)
      await terminate(ownerSql, pid)
      expectUnavailableAnswer(await lost)
      await holder`rollback`
      holder.release()
      await crowd.leave()
      expect(await kindsOf(ownerSql, familyId)).toEqual(['issued', 'rotated'])
      const again = await waitFor(async () => {
        const last = await refresh(server, refreshToken)
        return last.status !== 503 && last
      })
      expect(again).toMatchObject({ reason: 'refresh_token_reused', incidentId: `${familyId}:3` })
      expect(await kindsOf(ownerSql, familyId)).toEqual(['issued', 'rotated', 'reuse_detected'])
      await expectAlive(server)
    })
  }

  test('after many killed backends the pool has all its connections', async () => {
    const { server, ownerSql } = service
    let { refreshToken } = await service.signIn()
    for (let round = 0; round < 8; round++) {
      await ownerSql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'token-ledger'`
      const attemptId = randomUUID()
      const answers = await Promise.all(
        Array.from({ length: 5 }, () => refresh(server, refreshToken, attemptId)),
      )
      for (const { status } of answers) expect([200, 503]).toContain(status)
      const next = await retryUntilAnswered(server, refreshToken, attemptId)
      refreshToken = next.data.refreshToken
    }
    // More at once than the pool has connections: each of them answers.
    const visits = await Promise.all(Array.from({ length: 15 }, () => service.signIn()))
    expect(new Set(visits.map(({ familyId }) => familyId)).size).toBe(visits.length)
  })
})

describe('a server that dies between the commit and the answer', () => {
  for (const grace of ['0', '10']) {
    test(`RT-08 (RFC 9700 §4.14.2): after a server died between commit and answer, the same attempt gets the same successor, with ${grace} s of grace`, async () => {
      const database = await freshDatabase()
      await using _database = database
      const { ownerSql, url } = database
      const { email } = await makeUser(url)
      const env = { ROTATION_GRACE_SECONDS: grace }
      const attemptId = randomUUID()
      const first = await startServer(url, env)
      const credentials = { email, password: testPassword, transport: 'body' }
      const { refreshToken, familyId } = (await auth(first.url, 'login', credentials)).data
      await using wire = await startWire({
        host: '127.0.0.1',
        port: Number(new URL(first.url).port),
      })
      wire.swallow()
      const lost = auth(`http://127.0.0.1:${wire.port}`, 'refresh', { refreshToken, attemptId })
      const outcome = lost.then(
        () => 'answered',
        () => 'lost',
      )
      await waitFor(async () => (await kindsOf(ownerSql, familyId)).includes('rotated'))
      await first.kill('SIGKILL')
      expect(await outcome).toBe('lost')

      await using second = await startServer(url, env)
      await moveClock(ownerSql, hourMs)
      const retried = await refresh(second, refreshToken, attemptId)
      expect(retried.status).toBe(200)
      const again = await refresh(second, refreshToken, attemptId)
      expect(again.data.refreshToken).toBe(retried.data.refreshToken)
      // The token that is handed out is the one the ledger committed before the server died, and it works.
      expect(hashOf(retried.data.refreshToken)).toBe(await hashOfGeneration(ownerSql, familyId, 1))
      expect(await kindsOf(ownerSql, familyId)).toEqual([
        'issued',
        'rotated',
        'replayed',
        'replayed',
      ])
      expect((await refresh(second, retried.data.refreshToken)).status).toBe(200)
      expect((await kindsOf(ownerSql, familyId)).filter((kind) => kind === 'rotated').length).toBe(
        2,
      )
    })
  }
})

describe('a database that is lost while the service runs', () => {
  test('FS-01 (ASVS 16.5.3): the connection is cut: 503 at once and not ready; both recover when it is back', async () => {
    const { server, wire, ownerSql } = service
    const { refreshToken, familyId } = await service.signIn()
    wire.cut()
    await expectUnavailable(server, refreshToken)
    wire.mend()
    await expectRecovery(server, refreshToken)
    expect(await kindsOf(ownerSql, familyId)).toEqual(['issued', 'rotated'])
  })

  test('the connection is cut while many requests are in the database: every client gets an answer', async () => {
    const { server, wire, ownerSql } = service
    const sessions = await Promise.all(Array.from({ length: 20 }, () => service.signIn()))
    await using gate = await shutGate(ownerSql, 'insert')
    const attempts = sessions.map(({ refreshToken }) => ({ refreshToken, attemptId: randomUUID() }))
    const lost = attempts.map((attempt) => auth(server.url, 'refresh', attempt))
    await waitFor(() => gate.firstWaiter())
    const cutAt = performance.now()
    wire.cut()
    for (const answer of await Promise.all(lost)) expectUnavailableAnswer(answer)
    expect(performance.now() - cutAt).toBeLessThan(4_000)
    await gate[Symbol.asyncDispose]()
    wire.mend()
    for (const { refreshToken, attemptId } of attempts)
      await retryUntilAnswered(server, refreshToken, attemptId)
    const [{ rotated } = { rotated: 0 }] = await ownerSql<{ rotated: number }[]>`
      select count(*)::int as rotated from token_ledger.token_event
      where kind = 'rotated' and family_id = any(${sessions.map(({ familyId }) => familyId)})`
    expect(rotated).toBe(sessions.length)
  })

  test('FS-01 (ASVS 16.5.3): the database refuses connections: 503 at once and not ready; both recover when it accepts them', async () => {
    const { server, ownerSql, name } = service
    const { refreshToken, familyId } = await service.signIn()
    await allowConnections(name, false)
    await asAdmin(
      inject('testDatabases').adminUrl,
      (admin) => admin`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = ${name} and application_name = 'token-ledger'`,
    )
    await expectUnavailable(server, refreshToken)
    await allowConnections(name, true)
    await expectRecovery(server, refreshToken)
    expect(await kindsOf(ownerSql, familyId)).toEqual(['issued', 'rotated'])
  })
})

type Service = Awaited<ReturnType<typeof startService>>
type Session = { readonly refreshToken: string; readonly familyId: string }

async function startService() {
  const database = await freshDatabase()
  const { email } = await makeUser(database.url)
  const wire = await startDatabaseWire(database.url)
  // The grace window would forgive what only the same attempt may.
  const env = { ROTATION_GRACE_SECONDS: '0' }
  const server = await startServer(wire.url, env)
  const credentials = { email, password: testPassword, transport: 'body' }
  return {
    server,
    wire,
    credentials,
    databaseUrl: database.url,
    ownerSql: database.ownerSql,
    name: new URL(database.url).pathname.slice(1),
    async signIn(): Promise<Session> {
      return (await auth(server.url, 'login', credentials)).data
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await wire[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

function refresh(
  { url }: ServerProcess,
  refreshToken: string,
  attemptId?: string,
): Promise<Answer> {
  return auth(url, 'refresh', { refreshToken, ...(attemptId && { attemptId }) })
}

/** Sign-outs that have to wait, more of them than the pool has connections. */
async function prepareCrowd({ server, databaseUrl, credentials, ownerSql }: Service) {
  const { email } = await makeUser(databaseUrl)
  const { data } = await auth(server.url, 'login', { ...credentials, email })
  const { refreshToken, familyId } = data as Session
  const holder = await ownerSql.reserve()
  let waiting: Promise<Answer>[] = []
  return {
    async enter(size: number) {
      await holder`begin`
      await holder`select from token_ledger.token_family where family_id = ${familyId} for update`
      // Everywhere, because other sign-outs share a transaction.
      const input = { refreshToken, everywhere: true }
      waiting = Array.from({ length: size }, () => auth(server.url, 'logout', input))
      if (size > 0)
        await waitFor(async () => (await countBlocked(ownerSql)) > 1, 'others wait, too')
    },
    async leave() {
      await holder`rollback`
      holder.release()
      for (const answer of await Promise.all(waiting)) expect([200, 503]).toContain(answer.status)
    },
  }
}

/** How many backends of the service wait for a lock. */
async function countBlocked(ownerSql: Sql): Promise<number> {
  const [row] = await ownerSql<{ blocked: number }[]>`
    select count(*)::integer as blocked from pg_stat_activity
    where datname = current_database() and application_name = 'token-ledger'
      and wait_event_type = 'Lock'`
  return row?.blocked ?? 0
}

/** The first backend of the service that waits for a row lock. */
async function findBlocked(ownerSql: Sql): Promise<number | undefined> {
  const [row] = await ownerSql<{ pid: number }[]>`
    select pid from pg_stat_activity
    where datname = current_database() and application_name = 'token-ledger'
      and wait_event_type = 'Lock' and query ~ 'for update'`
  return row?.pid
}

/** Makes Postgres refuse new connections to the database. */
function allowConnections(database: string, isAllowed: boolean): Promise<void> {
  return asAdmin(inject('testDatabases').adminUrl, (admin) =>
    admin.unsafe(`alter database ${database} allow_connections ${isAllowed}`),
  )
}

async function terminate(ownerSql: Sql, pid: number): Promise<void> {
  await ownerSql`select pg_terminate_backend(${pid})`
  await waitFor(async () => {
    const rows = await ownerSql`select from pg_stat_activity where pid = ${pid}`
    return rows.length === 0
  })
}

/** The same attempt rotates once, in the same process. */
async function expectOneRotation(
  { server, ownerSql }: Service,
  { familyId, refreshToken }: Session,
  attemptId: string,
): Promise<void> {
  const retried = await retryUntilAnswered(server, refreshToken, attemptId)
  expect(await kindsOf(ownerSql, familyId)).toEqual(['issued', 'rotated'])
  const again = await refresh(server, refreshToken, attemptId)
  expect(again.data.refreshToken).toBe(retried.data.refreshToken)
  await expectAlive(server)
}

async function expectAlive({ url, pid }: ServerProcess): Promise<void> {
  expect((await fetch(`${url}/healthz`)).status).toBe(200)
  // Throws when the process has ended.
  process.kill(pid, 0)
}

function expectUnavailableAnswer(answer: Answer): void {
  expect(answer).toMatchObject({ status: 503, reason: 'service_unavailable' })
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
}

async function expectUnavailable(server: ServerProcess, refreshToken: string): Promise<void> {
  for (let i = 0; i < 5; i++) {
    const askedAt = performance.now()
    expectUnavailableAnswer(await refresh(server, refreshToken, randomUUID()))
    expect((await fetch(`${server.url}/readyz`)).status).toBe(503)
    expect(performance.now() - askedAt).toBeLessThan(7_000)
  }
  await expectAlive(server)
}

async function expectRecovery(server: ServerProcess, refreshToken: string): Promise<void> {
  const backAt = performance.now()
  await waitFor(async () => (await fetch(`${server.url}/readyz`)).status === 200)
  await retryUntilAnswered(server, refreshToken, randomUUID())
  expect(performance.now() - backAt).toBeLessThan(5_000)
  await expectAlive(server)
}

/** As a client does: 503 means that the same attempt may be repeated. */
async function retryUntilAnswered(
  server: ServerProcess,
  refreshToken: string,
  attemptId: string,
): Promise<Answer> {
  const answer = await waitFor(async () => {
    const last = await refresh(server, refreshToken, attemptId)
    return last.status === 503 ? undefined : last
  })
  expect(answer.status).toBe(200)
  return answer
}

async function kindsOf(ownerSql: Sql, familyId: string): Promise<string[]> {
  const rows = await ownerSql<{ kind: string }[]>`
    select kind from token_audit.events where family_id = ${familyId} order by seq`
  return rows.map(({ kind }) => kind)
}

/** As the ledger keeps it: the secret is the bytes 20 to 52. */
function hashOf(refreshToken: string): string {
  const bytes = Buffer.from(refreshToken.replace('tlr1.', ''), 'base64url')
  return createHash('sha256').update(bytes.subarray(20, 52)).digest('hex')
}

async function hashOfGeneration(ownerSql: Sql, familyId: string, generation: number) {
  const [row] = await ownerSql<{ hash: string }[]>`
    select encode(token_hash, 'hex') as hash from token_ledger.token_event
    where family_id = ${familyId} and generation = ${generation} and kind in ('issued', 'rotated')`
  return row!.hash
}
