import fastify from 'fastify'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readStanding } from '../../db/audit/standing.ts'
import { followCheck, type CheckMessage } from '../../server/audit/ledger-check.ts'
import { createLongReads, type LongReads } from '../../server/audit/long-reads.ts'
import { verifyExport } from '../../server/audit/verify-export.ts'
import { mountExport } from '../../server/http/routes/export.ts'
import { createTails } from '../../server/audit/tail.ts'
import { exportLedger } from '../../server/procedures/admin/export.ts'
import { adminLedgerRouter } from '../../server/procedures/admin/ledger.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { mutate } from '../support/http.ts'
import { raw } from '../support/raw-http.ts'
import { tamper } from '../support/ledger.ts'
import { beginSessions } from '../support/begun-sessions.ts'
import { signIn, type BodySession } from '../support/sessions.ts'
import { readStream, type TailMessage } from '../support/tail.ts'
import { makeUser } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

/** Verification with progress and the download of an export, which both read the whole ledger. */
let app: TestApp
let admin: BodySession

beforeAll(async () => {
  app = await startApp()
  admin = await newAdmin()
  const user = await makeUser(app.owner.url)
  await beginSessions(app.owner.url, user, 60)
})

afterAll(() => app[Symbol.asyncDispose]())

const newAdmin = async () => signIn(app, (await makeUser(app.owner.url, undefined, 'admin')).email)

function verification(accessToken: string, signal?: AbortSignal) {
  return readStream(app.url, { path: 'admin.ledger.verification', accessToken, signal })
}

function download(accessToken: string | null, search = '', signal: AbortSignal | null = null) {
  const headers: Record<string, string> =
    accessToken === null ? {} : { authorization: `Bearer ${accessToken}` }
  return fetch(`${app.url}/admin/export${search}`, { headers, signal })
}

async function reasonIn(answer: Response): Promise<string> {
  const body: any = await answer.json()
  return body.error.data.reason
}

const messagesOf = async (stream: AsyncIterable<TailMessage>) => {
  const messages: any[] = []
  for await (const { event, data } of stream)
    if (event === 'message') messages.push(data)
    else if (event === 'serialized-error') messages.push(data.data.reason)
  return messages
}

/** Holds every verification until it is disposed. */
async function holdChecks(): Promise<AsyncDisposable> {
  const holder = await app.owner.ownerSql.reserve()
  await holder`begin`
  await holder`lock table token_ledger.open_family in access exclusive mode`
  return {
    async [Symbol.asyncDispose]() {
      await holder`rollback`
      holder.release()
    },
  }
}

async function isHeld(): Promise<boolean> {
  const rows = await app.owner.ownerSql`
    select from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'
      and query like '%check_open_families%'`
  return rows.length > 0
}

test('a verification says how far it is, and ends with what it found', async () => {
  const [row] = await app.owner.ownerSql<{ families: number }[]>`
    select count(*)::integer as families from token_ledger.token_family`
  const families = row!.families
  const intact = await messagesOf(verification(admin.accessToken))
  expect(intact.at(-1)).toEqual({
    result: { intact: true, families, events: families, broken: [] },
  })
  expect(intact.length).toBeGreaterThan(1)
  for (const { progress } of intact.slice(0, -1))
    expect(progress).toEqual({
      checked: expect.any(Number),
      total: expect.any(Number),
      broken: 0,
    })

  const { familyId } = await signIn(app)
  const set = (transport: string) =>
    tamper(
      app.owner,
      `update token_ledger.token_event set transport = '${transport}' where family_id = '${familyId}'`,
    )
  await set('cookie')
  const [last] = (await messagesOf(verification(admin.accessToken))).slice(-1)
  expect(last.result).toMatchObject({ intact: false, broken: [{ familyId, firstBrokenSeq: 1 }] })
  await set('body')
})

test('an admin has one verification; others share it, and an export waits for its end', async () => {
  const other = await newAdmin()
  const leave = new AbortController()
  let shared: Promise<any[]>
  {
    await using _held = await holdChecks()
    const first = messagesOf(verification(admin.accessToken, leave.signal)).catch(() => 'left')
    await waitFor(isHeld)
    expect(await messagesOf(verification(admin.accessToken))).toEqual(['too_many_attempts'])
    shared = messagesOf(verification(other.accessToken))
    const refused = await download(other.accessToken)
    expect([refused.status, await reasonIn(refused)]).toEqual([429, 'too_many_attempts'])
    leave.abort()
    expect(await first).toBe('left')
  }
  // The one that stays gets the result of the check that the other began.
  expect((await shared).at(-1)).toMatchObject({ result: { intact: true } })
})

test('a ledger that cannot be counted in time is verified all the same', async () => {
  const sql = postgres(app.owner.url, { max: 1, connection: { statement_timeout: 100 } })
  const holder = await app.owner.ownerSql.reserve()
  await holder`begin`
  await holder`lock table token_ledger.token_family in access exclusive mode`
  const { signal } = new AbortController()
  const messages: CheckMessage[] = []
  const database = { statements: sql, db: app.database.db }
  const followed = (async () => {
    for await (const message of followCheck(database, createLongReads(), { signal }))
      messages.push(message)
  })()
  await waitFor(async () => messages.at(-1)?.progress?.total === null)
  await holder`rollback`
  holder.release()
  await followed
  await sql.end()
  expect(messages.at(-1)).toMatchObject({ result: { intact: true } })
})

test('a verification without a follower ends, and the next one begins anew', async () => {
  const leave = new AbortController()
  {
    await using _held = await holdChecks()
    const left = messagesOf(verification(admin.accessToken, leave.signal)).catch(() => 'left')
    await waitFor(isHeld)
    leave.abort()
    expect(await left).toBe('left')
  }
  await expect
    .poll(async () => (await messagesOf(verification(admin.accessToken))).at(-1))
    .toMatchObject({ result: { intact: true } })
})

test('a verification ends when its admin is demoted', async () => {
  const demoted = await newAdmin()
  let messages: Promise<any[]>
  {
    await using _held = await holdChecks()
    messages = messagesOf(verification(demoted.accessToken))
    await waitFor(isHeld)
    await app.owner
      .ownerSql`update token_ledger.user_account set role = 'user' where user_id = ${demoted.userId}`
  }
  expect((await messages).at(-1)).toBe('role_required')
  expect(await messagesOf(verification(demoted.accessToken))).toEqual(['role_required'])
})

test.each(['verification', 'tail'] as const)(
  'a caller of %s who leaves while it is asked who calls takes no place',
  async (name) => {
    const { familyId, userId } = admin
    const leave = new AbortController()
    const slots = createTails(1)
    const ctx = {
      deps: { database: app.database, tails: slots, checks: slots, logSecurityEvent: () => {} },
      caller: { ip: null, userAgent: null },
      bearer: {
        claims: async () => ({ familyId, userId, expiresAt: Infinity }),
        mustBeAdmin: async () => leave.abort(),
      },
    }
    const caller = adminLedgerRouter.createCaller(ctx as any, { signal: leave.signal })
    const stream: any = await caller[name]()
    expect(slots.open()).toBe(0)
    for await (const message of stream) expect.unreachable(`${message} after the end`)
  },
)

test('an admin downloads the export that verifies without the database', async () => {
  const answer = await download(admin.accessToken)
  expect(answer.headers.get('content-type')).toBe('application/jsonl')
  expect(answer.headers.get('content-disposition')).toContain('ledger.jsonl')
  expect(answer.headers.get('cache-control')).toBe('no-store')
  const lines = (await answer.text()).trimEnd().split('\n')
  async function* each() {
    yield* lines
  }
  const verdict = await verifyExport(each())
  expect(verdict).toMatchObject({ problems: [], families: expect.any(Number) })
  const [row] = await app.owner.ownerSql`
    select count(*)::integer as families from token_ledger.token_family`
  expect(verdict.families).toBe(row!.families)
  const none = await download(
    admin.accessToken,
    '?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z',
  )
  expect((await none.text()).trimEnd().split('\n')).toHaveLength(2)
})

test('an export is for admins alone, and takes a period alone', async () => {
  const user = await signIn(app)
  const refusals: [Promise<Response>, number, string][] = [
    [download(null), 401, 'access_token_missing'],
    [download('a.b.c'), 401, 'access_token_invalid'],
    [download(user.accessToken), 403, 'role_required'],
    [download(admin.accessToken, '?from=yesterday'), 400, 'validation_failed'],
    [download(admin.accessToken, '?limit=1'), 400, 'validation_failed'],
  ]
  for (const [answering, status, reason] of refusals) {
    const answer = await answering
    expect([answer.status, await reasonIn(answer)]).toEqual([status, reason])
    expect(answer.headers.has('www-authenticate')).toBe(status === 401)
  }
  const { familyId } = admin
  const gone = await newAdmin()
  const asked = { familyId: gone.familyId, reason: 'test' }
  await mutate(app.url, 'admin.sessions.revoke', admin.accessToken, asked)
  expect((await download(gone.accessToken)).status).toBe(401)
  expect(familyId).not.toBe(gone.familyId)
})

test('an export is read no faster than it is taken, and a caller who leaves ends it', async () => {
  const leave = new AbortController()
  const { lines, errors, longReads } = await beginExport({}, { signal: leave.signal })
  const waiting = async () => {
    const rows = await app.owner.ownerSql`
      select from pg_stat_activity
      where datname = current_database() and state = 'idle in transaction'
        and query like '%origin_salt%'`
    return rows.length > 0 && lines.readableLength >= lines.readableHighWaterMark
  }
  await waitFor(waiting)
  expect(() => longReads.take()).toThrow('Too many attempts')
  const held = lines.readableLength
  leave.abort()
  await waitFor(async () => lines.destroyed)
  expect(held).toBeLessThan(2 * lines.readableHighWaterMark)
  expect(errors).toHaveLength(1)
  longReads.take()
})

test('an export whose caller takes nothing ends, and so does one whose access token expires or whose caller is demoted', async () => {
  const demoted = await signIn(app)
  const never = 3_600_000
  const ends = [
    [{}, { askMs: never, drainMs: 50 }, 'nothing was read for 50 ms'],
    [{ expiresAt: Date.now() }, { askMs: 50, drainMs: never }, 'expired during the export'],
    [demoted, { askMs: 50, drainMs: never }, 'not an admin now'],
  ] as const
  for (const [claims, times, expected] of ends) {
    const { lines, errors, longReads } = await beginExport(claims, { times })
    await waitFor(async () => lines.destroyed)
    expect(errors.map(({ detail }) => detail)).toEqual([expected])
    await waitFor(async () => isFree(longReads))
  }
})

test('an export with two Authorization headers is refused', async () => {
  const one = `Bearer ${admin.accessToken}`
  const answer = await raw(`${app.url}/admin/export`, {
    method: 'GET',
    headers: { authorization: [one, 'Bearer x'] },
  })
  expect([answer.status, answer.reason]).toEqual([400, 'validation_failed'])
})

test('an export that fails in mid-stream is reported', async () => {
  const { familyId, userId } = admin
  const reported: unknown[] = []
  const broken = { begin: () => Promise.reject(new Error('the disk is gone')) }
  const deps = {
    database: { questions: { statements: broken } },
    standingOf: (id: string) => readStanding(app.database.statements, id),
    verifier: { verifyAuthorization: async () => ({ familyId, userId, expiresAt: Infinity }) },
    endedSessions: { stateOf: () => 'active' },
    callLimits: { count: async () => {} },
    users: { findMany: async () => new Map([[userId, { id: userId, role: 'admin' }]]) },
    longReads: createLongReads(),
    logSecurityEvent: () => {},
    reportError: ({ message }: Error, procedure: string) => reported.push([message, procedure]),
  }
  await using server = fastify()
  mountExport(server, deps as any)
  await expect(server.inject('/admin/export')).rejects.toThrow()
  expect(reported).toEqual([['the disk is gone', '/admin/export']])
})

/** An export of which nothing is read. */
async function beginExport(
  claims: Partial<{ userId: string; familyId: string; expiresAt: number }>,
  options: {
    signal?: AbortSignal
    times?: { askMs: number; drainMs: number }
  },
) {
  const { familyId, userId } = admin
  const longReads = createLongReads()
  const users = { findMany: async () => new Map([[userId, { id: userId, role: 'admin' }]]) }
  const deps = { database: app.database, users, longReads, logSecurityEvent: () => {} }
  const session = { familyId, userId, expiresAt: Infinity, ...claims }
  const call = {
    bearer: { claims: async () => session, mustBeAdmin: async () => {} },
    caller: { ip: null, userAgent: null },
    query: {},
    signal: options.signal ?? new AbortController().signal,
  }
  const lines = await exportLedger(deps as any, call as any, options.times)
  const errors: any[] = []
  lines.on('error', (error) => errors.push(error))
  return { lines, errors, longReads }
}

function isFree(longReads: LongReads): boolean {
  try {
    longReads.take()
    return true
  } catch {
    return false
  }
}
