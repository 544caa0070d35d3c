import { randomUUID } from 'node:crypto'
import fastify from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isDerived, ledgerIdOf } from '../../db/subjects.ts'
import type { ProvedSignIn, User, UserDirectory } from '../../server/index.ts'
import { verifyExport } from '../../server/audit/verify-export.ts'
import { createSecurityLog } from '../../server/observability/security-log.ts'
import { createSubjects, rememberingMisses } from '../../server/users/subjects.ts'
import { createTeamDirectory } from '../../server/users/team-directory.ts'
import { createVerifier } from '../../server/verifier/index.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { cli } from '../support/cli.ts'
import { feedToken } from '../support/feed.ts'
import { claimsOf } from '../support/forge.ts'
import { auth, mutate, query, type Answer } from '../support/http.ts'
import { exportLines } from '../support/ledger.ts'
import { freePort } from '../support/server.ts'
import { waitFor } from '../support/wait.ts'

const signInToken = 'a credential of the sign-in service: q7Lw4Xr8Vb1M'
const password = 'correct horse battery staple'

/** A directory of a team's own. */
const people = new Map<string, User>()
const users: UserDirectory = {
  findByEmail: async (email) => [...people.values()].find((one) => one.email === email) ?? null,
  async findMany(ids) {
    return new Map(ids.flatMap((id) => (people.has(id) ? [[id, people.get(id)!]] : [])))
  },
  checkPassword: async (user, given) => user !== null && given === password,
}
let count = 0
function add(id: string, role: User['role'] = 'user'): string {
  people.set(id, { id, email: `person-${++count}@example.com`, role, disabled: false })
  return id
}

/** Two services on one database: the second has nothing of the first's memory. */
let app: TestApp
let other: TestApp
const lines: string[] = []
let admin: string

beforeAll(async () => {
  const stream = { write: (line: string) => void lines.push(line) }
  const { log: logger } = fastify({ logger: { level: 'info', stream } })
  const port = String(await freePort())
  const env = {
    PUBLIC_URL: `http://127.0.0.1:${port}`,
    SIGN_IN_TOKEN: signInToken,
    REVOCATIONS_TOKEN: feedToken,
  }
  app = await startApp(
    { ...env, PORT: port },
    {
      users,
      logger,
      addRoutes: (to) => {
        to.post<{ Body: ProvedSignIn }>('/proved', (request, reply) =>
          to.startSession(request, reply, request.body),
        )
        to.post<{ Body: { user: string } }>('/again', (request, reply) =>
          to.reauthenticated(request, reply, { user: request.body.user, methods: ['hwk'] }),
        )
      },
    },
  )
  other = await startApp(env, { users, owner: app.owner })
  admin = (await begin(add('admin|ops@example.com', 'admin'))).accessToken
})
afterAll(async () => {
  await other.app.close()
  await other.database.close()
  await app[Symbol.asyncDispose]()
})

const proof = { methods: ['fed'], transport: 'body' } as const

async function post(path: string, body: object, headers: Record<string, string> = {}) {
  const response = await fetch(`${app.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  return { status: response.status, body: JSON.parse(await response.text()) }
}

async function begin(user: string) {
  const { status, body } = await post('/proved', { ...proof, user })
  expect([status, body]).toEqual([200, expect.anything()])
  return body
}

function asService(user: unknown) {
  const body = { ...proof, user, attemptId: randomUUID() }
  return post('/auth/sessions', body, { authorization: `Bearer ${signInToken}` })
}

const refresh = (refreshToken: string, at = other): Promise<Answer> =>
  auth(at.url, 'refresh', { refreshToken })

const longest = '𝒜鳥'.repeat(128).slice(0, -1)
const texts: Record<string, string> = {
  'an id of an identity provider': 'auth0|507f1f77bcf86cd799439011',
  'an id like an address': 'Ada@Example.com',
  '255 characters of two planes': longest,
  'a number': '17',
  'SQL and quotes': `'; drop table "user_epoch" -- \\ %`,
  'right-to-left': 'مستخدم ١٧',
}

describe.each(Object.entries(texts))('%s', (_what, subject) => {
  test('begins sessions in all ways, rotates in another process, and is found when it is stolen', async () => {
    add(subject)
    expect(Array.from(longest)).toHaveLength(255)
    const byLogin = await auth(app.url, 'login', {
      email: people.get(subject)!.email,
      password,
      transport: 'body',
    })
    const grants = [await begin(subject), (await asService(subject)).body.result.data, byLogin.data]
    for (const grant of grants) {
      expect(grant.user.id).toBe(subject)
      const second = await refresh(grant.refreshToken)
      expect([second.status, second.data.user.id]).toEqual([200, subject])
      const third = await refresh(second.data.refreshToken, app)
      expect(claimsOf(third.data.accessToken)['sub']).toBe(subject)
      expect((await query(other.url, 'me', third.data.accessToken)).data.user.id).toBe(subject)
      expect((await refresh(grant.refreshToken)).reason).toBe('refresh_token_reused')
    }
    const rows = await app.owner.ownerSql`
      select user_id, subject, status from token_audit.sessions
      where user_id = token_audit.user_id(${subject})`
    const stolen = { user_id: ledgerIdOf(subject), subject, status: 'reuse_detected' }
    expect([...rows]).toEqual([stolen, stolen, stolen])
    const logged = lines.map((line) => JSON.parse(line)).filter(({ userId }) => userId === subject)
    expect(logged.map(({ event }) => event)).toContain('session_started')
    expect(lines.filter((line) => line.includes(ledgerIdOf(subject)))).toEqual([])
  })
})

test('lists its own sessions, and ends the others', async () => {
  const subject = add('Customer-17')
  const [first, second] = [await begin(subject), await begin(subject)]
  const listed = await query(other.url, 'sessions.list', first.accessToken)
  expect(listed.data.items).toHaveLength(2)
  const events = await query(other.url, 'account.events', first.accessToken)
  expect(events.data.items).toHaveLength(2)
  const ended = await mutate(other.url, 'sessions.revokeOthers', first.accessToken)
  expect(ended.data).toEqual({ revoked: 1 })
  expect((await refresh(second.refreshToken)).reason).toBe('session_revoked')
  const { data } = await auth(app.url, 'logout', {
    refreshToken: first.refreshToken,
    everywhere: true,
  })
  expect(data.revoked).toBe(1)
})

test.each([
  ['disables', (user: User) => people.set(user.id, { ...user, disabled: true })],
  ['forgets', ({ id }: User) => people.delete(id)],
])('is refused while the directory %s the user, and the session stays', async (_what, change) => {
  const subject = add(`Customer-19-${count}`)
  const user = people.get(subject)!
  const { refreshToken } = await begin(subject)
  change(user)
  expect(await refresh(refreshToken)).toMatchObject({ status: 401, reason: 'session_revoked' })
  people.set(subject, user)
  expect((await refresh(refreshToken)).status).toBe(200)
})

test('proves again who it is, and no other', async () => {
  const subject = add('customer-18')
  const grant = await begin(subject)
  const attempt = { attemptId: randomUUID(), refreshToken: grant.refreshToken }
  const wrong = await post('/again', { ...attempt, user: 'Customer-18' })
  expect(wrong.status).toBe(401)
  const right = await post('/again', { ...attempt, user: subject })
  expect(right.body).toMatchObject({ isReauthenticated: true, user: { id: subject } })
  const byPassword = await auth(other.url, 'reauthenticate', {
    attemptId: randomUUID(),
    refreshToken: right.body.refreshToken,
    password,
  })
  expect(byPassword.data).toMatchObject({ isReauthenticated: true, user: { id: subject } })
})

test('ids that differ in case, in Unicode form or by a space at the end are different users', async () => {
  const pairs = [
    ['ada', 'Ada'],
    ['caf\u00e9', 'cafe\u0301'],
    ['ada ', 'ada  '],
    ['0198c0de-0000-7000-8000-00000000000a', '0198C0DE-0000-7000-8000-00000000000A'],
  ]
  for (const [one = '', another = ''] of pairs) {
    const kept = await begin(add(one))
    const ended = await begin(add(another))
    const { data } = await mutate(app.url, 'admin.users.revokeSessions', admin, {
      userId: another,
      reason: 'test',
    })
    expect(data).toMatchObject({ revoked: 1, activeSessions: 0 })
    expect([
      (await refresh(kept.refreshToken)).status,
      (await refresh(ended.refreshToken)).status,
    ]).toEqual([200, 401])
  }
})

test('a directory that answers with a user of another spelling begins and refreshes no session', async () => {
  const user = people.get(add('Grace'))!
  people.set('grace', user)
  expect((await asService('grace')).status).toBe(401)
  const id = randomUUID()
  const grant = await begin(add(id))
  people.set(id, user)
  expect((await refresh(grant.refreshToken)).status).toBe(401)
})

test("a user whose id is the text of another user's derived id is not that user", async () => {
  const victim = add('victim')
  const kept = await begin(victim)
  const attacker = add(ledgerIdOf(victim))
  expect(isDerived(attacker)).toBe(true)
  const grant = await begin(attacker)
  expect(claimsOf(grant.accessToken)['sub']).toBe(attacker)
  const listed = await query(app.url, 'sessions.list', grant.accessToken)
  expect(listed.data.items.map(({ familyId }: any) => familyId)).toEqual([grant.familyId])
  const { data } = await auth(app.url, 'logout', {
    refreshToken: grant.refreshToken,
    everywhere: true,
  })
  expect(data.revoked).toBe(1)
  expect((await refresh(kept.refreshToken)).data.user.id).toBe(victim)
})

test('what is no id is refused in one sentence, and nothing is written', async () => {
  const state = () => app.owner.ownerSql`
    select
      (select count(*) from token_ledger.token_event)::int as events,
      (select count(*) from token_ledger.user_epoch)::int as users,
      (select count(*) from token_ledger.user_subject)::int as subjects`
  const before = await state()
  const message = 'user: Must have 1 to 255 characters, none of them a control character.'
  const wrong = ['', 'x'.repeat(256), '𝒜'.repeat(256), 'a\0b', 'a\nb', 'a\u0085b', 'a\ud800b']
  for (const user of wrong) {
    const refused = await asService(user)
    expect([refused.status, refused.body.error.message]).toEqual([400, message])
    expect((await post('/proved', { ...proof, user })).status).toBe(400)
  }
  // A directory that has such an id breaks the sign-in of this user alone.
  const broken = people.get(add('x'.repeat(256)))!
  const answer = await auth(app.url, 'login', { email: broken.email, password, transport: 'body' })
  expect([answer.status, answer.reason]).toEqual([500, 'internal_error'])
  const problem = 'the user directory has a user id of another form'
  expect(lines.some((line) => line.includes(problem))).toBe(true)
  expect(await state()).toEqual(before)
})

test('an admin finds and ends sessions by the id of the team, and what they did is kept under it', async () => {
  const subject = add('auth0|admin saw this')
  const [grant, second] = [await begin(subject), await begin(subject)]
  const ask = async (path: string, input: object) =>
    (await query(other.url, path, admin, input)).data
  const listed = await ask('admin.sessions.list', { userId: subject })
  expect(listed.items.map(({ userId }: any) => userId)).toEqual([subject, subject])
  const events = await ask('admin.ledger.events', { userId: subject, kinds: ['issued'] })
  expect(events.items.map(({ userId }: any) => userId)).toEqual([subject, subject])
  expect((await ask('admin.sessions.get', { familyId: grant.familyId })).userId).toBe(subject)

  const ended = await mutate(other.url, 'admin.users.revokeSessions', admin, {
    userId: subject,
    reason: 'lost laptop',
  })
  expect(ended.data).toEqual({ revoked: 2, activeSessions: 0 })
  expect((await refresh(second.refreshToken)).status).toBe(401)
  const unknown = { userId: 'no such user', reason: 'test' }
  expect((await mutate(app.url, 'admin.users.revokeSessions', admin, unknown)).reason).toBe(
    'not_found',
  )
  const acts = await ask('admin.actions.list', { targetUserId: subject })
  expect(acts.items).toMatchObject([
    { actorUserId: 'admin|ops@example.com', targetUserId: subject, reason: 'lost laptop' },
  ])
  const [last] = (await ask('admin.ledger.events', { userId: subject, limit: 1 })).items
  expect(last).toMatchObject({ kind: 'revoked', actorUserId: 'admin|ops@example.com' })
})

test('the live tail takes the id of the team as its filter', async () => {
  const subject = add('followed')
  const { data } = await query(app.url, 'admin.ledger.events', admin, { limit: 1 })
  const after = data.items[0].position
  await begin(add('not followed'))
  const { familyId } = await begin(subject)
  const input = encodeURIComponent(JSON.stringify({ userId: subject, after }))
  const response = await fetch(`${app.url}/trpc/admin.ledger.tail?input=${input}`, {
    headers: { authorization: `Bearer ${admin}`, accept: 'text/event-stream' },
  })
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    if (text.includes(familyId)) break
  }
  expect(text).toContain('"userId":"followed"')
  expect(text).not.toContain('not followed')
})

test('a service that follows the feed refuses the tokens of a user whose sessions all ended', async () => {
  const subject = add('auth0|followed by a service')
  const { accessToken } = await begin(subject)
  const verifier = createVerifier({
    issuer: app.url,
    audience: claimsOf(accessToken)['aud'] as string,
    revocations: { token: feedToken },
  })
  expect((await verifier.verify(accessToken)).userId).toBe(subject)
  const by = { userId: subject, reason: 'test' }
  await mutate(other.url, 'admin.users.revokeSessions', admin, by)
  const refusal = await waitFor(() =>
    verifier.verify(accessToken).then(
      () => undefined,
      (error: unknown) => error,
    ),
  )
  expect(refusal).toMatchObject({ reason: 'access_token_revoked' })
  verifier.close()
})

test('an export has the text with its family, and a text that another id is derived from does not verify', async () => {
  await begin(add('exported'))
  const exported = await exportLines(app.database)
  expect((await verifyExport(exported)).problems).toEqual([])
  const changed = exported.map((line) => line.replace('"subject":"exported"', '"subject":"other"'))
  expect((await verifyExport(changed)).problems).toMatchObject([
    { problem: 'the user id is not derived from the subject' },
  ])
})

test('the command line takes the id of the team, and an erasure deletes it with the hashes intact', async () => {
  const subject = add('erased|17')
  const { familyId, refreshToken } = await begin(subject)
  const { url, ownerSql } = app.owner
  const [listed, inspected] = await Promise.all([
    cli(url, ['sessions', 'list', '--user-id', subject]),
    cli(url, ['sessions', 'inspect', familyId]),
  ])
  expect(listed.stdout).toContain(`${familyId}  ${subject}`)
  expect(inspected.stdout).toContain(`user     ${subject}  ${ledgerIdOf(subject)}`)
  const ended = await cli(url, [
    'sessions',
    'revoke-user',
    '--user-id',
    subject,
    '--reason',
    'test',
  ])
  expect(ended).toMatchObject({ code: 0, stdout: '1\n' })
  const erased = await cli(url, ['user', 'erase', '--user-id', subject])
  expect(erased).toMatchObject({ code: 0, stdout: `${ledgerIdOf(subject)}\n` })
  expect(await ownerSql`select from token_ledger.user_subject where subject = ${subject}`).toEqual(
    [],
  )
  expect(
    await ownerSql`select subject from token_audit.sessions where family_id = ${familyId}`,
  ).toEqual([{ subject: ledgerIdOf(subject) }])
  expect(await ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
  expect((await refresh(refreshToken)).reason).toBe('session_revoked')
})

describe('the command line', () => {
  const acts = () => app.owner.ownerSql`
    select
      (select count(*) from token_ledger.admin_action)::int as acts,
      (select count(*) from token_ledger.user_epoch)::int as users,
      (select count(*) from token_ledger.user_subject)::int as subjects`

  test('refuses to act on an id that no user has, names the user of a derived id, and writes nothing', async () => {
    const subject = add('auth0|derived id is not an id')
    await begin(subject)
    const before = await acts()
    const erase = ['user', 'erase']
    const revoke = ['sessions', 'revoke-user', '--reason', 'test']
    const behind = `; it is the derived id of the user ${subject}\n`
    const typo = 'user not found: a typo\n'
    const refusals = [
      { command: erase, id: 'a typo', message: typo },
      { command: revoke, id: 'a typo', message: typo },
      { command: erase, id: randomUUID(), message: 'user not found: ' },
      { command: erase, id: ledgerIdOf(subject), message: behind },
    ].map(async ({ command, id, message }) => {
      const refused = await cli(app.owner.url, [...command, '--user-id', id])
      expect(refused).toMatchObject({ code: 2, stdout: '' })
      expect(refused.stderr).toContain(message)
    })
    await Promise.all(refusals)
    expect(await acts()).toEqual(before)
  }, 30_000)

  test('finds an erased user by the derived id, and a revocation does not bring the text back', async () => {
    const subject = add('auth0|erased twice')
    const { familyId } = await begin(subject)
    const erased = await cli(app.owner.url, ['user', 'erase', '--user-id', subject])
    expect(erased.code).toBe(0)
    const revoke = ['sessions', 'revoke-user', '--reason', 'test', '--user-id', subject]
    const revoked = await cli(app.owner.url, revoke)
    expect(revoked).toMatchObject({ code: 0, stdout: '0\n' })
    const by = { userId: subject, reason: 'test' }
    const { data } = await mutate(app.url, 'admin.users.revokeSessions', admin, by)
    expect(data).toMatchObject({ revoked: 0 })
    expect(
      await app.owner.ownerSql`
        select from token_ledger.user_subject where user_id = ${ledgerIdOf(subject)}`,
    ).toEqual([])

    const shown = ledgerIdOf(subject)
    const listed = await cli(app.owner.url, ['sessions', 'list', '--user-id', shown])
    expect(listed.stdout).toContain(`${familyId}  (erased)`)
    const ask = async (path: string, input: object) =>
      (await query(app.url, path, admin, input)).data.items
    expect(await ask('admin.sessions.list', { userId: shown })).toMatchObject([
      { familyId, userId: shown },
    ])
    const events = await ask('admin.ledger.events', { userId: shown })
    expect(events.map(({ kind }: any) => kind)).toEqual(['revoked', 'issued'])
    const done = await ask('admin.actions.list', { targetUserId: shown })
    expect(done.map(({ action }: any) => action)).toEqual([
      'sessions_revoked',
      'sessions_revoked',
      'user_erased',
    ])
    expect(await ask('admin.actions.list', { actorUserId: shown })).toEqual([])
  }, 30_000)

  test('a filter by a text in the derived form means the user who has it as the id, if there is one', async () => {
    const derivedFrom = add('has a derived id')
    await begin(derivedFrom)
    const { familyId } = await begin(add(ledgerIdOf(derivedFrom)))
    const { data } = await query(app.url, 'admin.sessions.list', admin, {
      userId: ledgerIdOf(derivedFrom),
    })
    expect(data.items.map((one: any) => one.familyId)).toEqual([familyId])
  })

  test('names a user of a directory of UUIDs, who is not erased', async () => {
    const id = add(randomUUID())
    const { familyId } = await begin(id)
    const [listed, inspected] = await Promise.all([
      cli(app.owner.url, ['sessions', 'list', '--user-id', id]),
      cli(app.owner.url, ['sessions', 'inspect', familyId]),
    ])
    expect(listed.stdout).toContain(`${familyId}  ${id}`)
    expect(inspected.stdout).toContain(`user     ${id}  ${id}`)
  }, 30_000)
})

describe('the log', () => {
  test('has the id of a user whose first sign-in is refused, without a query', async () => {
    for (const subject of [add('auth0|never signed in'), add(ledgerIdOf('victim of the log'))]) {
      const { email } = people.get(subject)!
      const refused = await auth(app.url, 'login', { email, password: 'wrong, quite wrong' })
      expect(refused.reason).toBe('invalid_credentials')
      expect(lines.filter((line) => line.includes(ledgerIdOf(subject)))).toEqual([])
      const logged = lines
        .map((line) => JSON.parse(line))
        .filter(({ userId }) => userId === subject)
      expect(logged).toMatchObject([{ event: 'sign_in_refused' }])
      expect(logged[0]).not.toHaveProperty('subject')
    }
    const asked: string[] = []
    const { logSecurityEvent } = createSecurityLog(fastify().log, {
      count: () => {},
      subjects: { of: (ids) => (asked.push(...ids), new Map()) },
    })
    const about = { userId: ledgerIdOf('x'), subject: 'x', accountHash: '', ip: null }
    logSecurityEvent({ event: 'sign_in_refused', reason: 'invalid_credentials', ...about })
    expect(asked).toEqual([])
  })

  test('asks again for an id without a subject after five seconds, and a refresh at once', async () => {
    let statements = 0
    const rows: { userId: string; subject: string }[] = []
    const subjects = createSubjects({ statements: (async () => (statements++, rows)) as never })
    let now = 0
    const logged = rememberingMisses(subjects, () => now)
    const id = ledgerIdOf('erased')
    for (let i = 0; i < 3; i++) expect([...(await logged.of([id]))]).toEqual([])
    expect(statements).toBe(1)
    rows.push({ userId: id, subject: 'erased' })
    now = 4_999
    expect([...(await logged.of([id]))]).toEqual([])
    expect([...(await subjects.of([id]))]).toEqual([[id, 'erased']])
    now = 5_000
    expect([...(await logged.of([id]))]).toEqual([[id, 'erased']])
    expect(statements).toBe(2)
  })
})

describe('the table of texts', () => {
  test('takes no text under an id that is not derived from it, and changes none', async () => {
    const { ownerSql } = app.owner
    await begin(add('bound'))
    const insert = (id: string, text: string) =>
      ownerSql`insert into token_ledger.user_subject (user_id, subject) values (${id}, ${text})`
    const check = { code: '23514' }
    await expect(insert(ledgerIdOf('bound'), 'someone else')).rejects.toMatchObject(check)
    const uuid = randomUUID()
    await expect(insert(uuid, uuid)).rejects.toMatchObject(check)
    for (const text of ['', 'x'.repeat(256), 'a\nb', 'a\u0085b'])
      await expect(
        ownerSql`insert into token_ledger.user_subject (user_id, subject)
          values (token_audit.user_id(${text}), ${text})`,
      ).rejects.toMatchObject(check)
    await expect(
      ownerSql`update token_ledger.user_subject set subject = 'x' where subject = 'bound'`,
    ).rejects.toMatchObject({ code: 'TL001' })
    const service = app.database.statements
    await expect(
      service`delete from token_ledger.user_subject where subject = 'bound'`,
    ).rejects.toMatchObject({ code: '42501' })
  })

  test('SQL and TypeScript derive the same id', async () => {
    const samples = [
      ...Object.values(texts),
      randomUUID(),
      ledgerIdOf('x'),
      randomUUID().toUpperCase(),
    ]
    const rows = await app.owner.ownerSql<{ id: string }[]>`
      select token_audit.user_id(t.text)::text as id
      from jsonb_array_elements_text(${JSON.stringify(samples)}::text::jsonb) with ordinality as t(text, n)
      order by n`
    expect(rows.map(({ id }) => id)).toEqual(samples.map(ledgerIdOf))
    expect(ledgerIdOf('customer-17')).toBe('7823ea96-a748-81c0-9bf6-edac93eda9ed')
  })

  test('a question by the id of the team uses the index of users', async () => {
    const plan = await app.owner.ownerSql`
      explain select * from token_ledger.token_family where user_id = token_audit.user_id('customer-17')`
    const text = plan.map((row) => row['QUERY PLAN']).join('\n')
    expect(text).toContain(ledgerIdOf('customer-17'))
  })
})

describe('a refresh', () => {
  const directory: UserDirectory = { ...users, findMany: async () => new Map() }

  test('asks a directory of UUIDs with nothing in between', async () => {
    const promise = Promise.resolve(new Map())
    const never = { of: () => expect.unreachable() }
    const team = createTeamDirectory({ ...directory, findMany: () => promise }, never)
    expect(team.findOwners([randomUUID(), randomUUID()])).toBe(promise)
  })

  test('of derived ids reads their texts once, in one statement', async () => {
    const batch = ['auth0|1', 'auth0|2', 'auth0|3'].map((subject) => ({
      userId: ledgerIdOf(subject),
      subject,
    }))
    let statements = 0
    const read = async () => (statements++, batch)
    const subjects = createSubjects({ statements: read as never })
    const ids = batch.map(({ userId }) => userId)
    const team = createTeamDirectory(users, subjects)
    for (const { subject } of batch) add(subject)
    for (let i = 0; i < 3; i++) expect([...(await team.findOwners(ids)).keys()]).toEqual(ids)
    expect(statements).toBe(1)
    expect(subjects.of(ids)).toBeInstanceOf(Map)
  })
})
