import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { adminEmail, attackedServer } from '../support/attacked-server.ts'
import { auth, mutate } from '../support/http.ts'
import { callAs, procedures, type FieldSchema, type Procedure } from '../support/procedures.ts'
import { kindsOf, signIn, type BodySession } from '../support/sessions.ts'
import { firstEvents, readTail } from '../support/tail.ts'
import { makeUser, testPassword } from '../support/users.ts'

const unknownId = '0198c0de-0000-7000-8000-00000000dead'
const bearerCalls = procedures.filter(({ url }) => url.startsWith('/trpc/'))
const adminCalls = bearerCalls.filter(({ url }) => url.startsWith('/trpc/admin.'))
// `me` learns of an end within seconds; every other procedure asks the ledger whether its session is active.
const liveCalls = bearerCalls.filter(({ url }) => url !== '/trpc/me')

const world = attackedServer()
let admin: BodySession
let attacker: BodySession
let victim: BodySession

beforeAll(async () => {
  admin = await signIn(world, adminEmail)
  attacker = await signIn(world)
  victim = await signIn(world)
})

test('AD-01 (ASVS 8.3.2): the token of a demoted admin gives no access to admin procedures', async () => {
  const { email, id } = await makeUser(world.database.url, undefined, 'admin')
  const { accessToken: token } = await signIn(world, email)
  for (const procedure of adminCalls) {
    const { reason = 'none' } = await callAs(world, procedure, { token })
    expect([procedure.url, reason]).toEqual([procedure.url, expect.stringMatching(openReasons)])
  }
  const set = { userId: id, role: 'user' }
  expect((await mutate(world.url, 'admin.users.setRole', admin.accessToken, set)).status).toBe(200)
  await expectRefused(adminCalls, { token, reason: 'role_required', status: 403 })
})

test('AD-01, AT-08, V6 (ASVS 7.4.1, 7.4.5): the token of an ended session gives no access', async () => {
  const { email } = await makeUser(world.database.url, undefined, 'admin')
  const { accessToken: token, refreshToken } = await signIn(world, email)
  await auth(world.url, 'logout', { refreshToken })
  await expectRefused(liveCalls, { token, reason: 'access_token_revoked', status: 401 })
})

/** What an admin is answered about things that do not exist. */
const openReasons = /^(none|not_found|email_taken)$/

async function expectRefused(
  asked: readonly Procedure[],
  { token, status, reason }: { token: string; status: number; reason: string },
): Promise<void> {
  await world.unchanged(async () => {
    for (const procedure of asked) {
      const answer = await callAs(world, procedure, { token })
      // A refused stream has already begun to answer.
      const refused = procedure.type === 'subscription' ? 200 : status
      const said = [procedure.url, answer.status, answer.reason]
      expect(said).toEqual([procedure.url, refused, reason])
    }
  })
}

/** Whether the field names something that belongs to a user. */
function isId(name: string, { format, pattern = '' }: FieldSchema): boolean {
  return format === 'uuid' || name === 'user' || name.endsWith('Id') || pattern.includes('[0-9a-f]')
}

const idFields = procedures.flatMap(({ url, fields }) =>
  Object.entries(fields ?? {})
    .filter(([name, field]) => isId(name, field))
    .map(([name]) => `${url} ${name}`),
)

/** What a stranger tries with another user's id, for each field that takes one. A new field needs a line here. */
const idCases: Record<string, () => Promise<void>> = {
  '/auth/refresh attemptId': async () => {
    const own = await signIn(world, attacker.email)
    const other = await signIn(world, victim.email)
    const attemptId = randomUUID()
    await auth(world.url, 'refresh', { refreshToken: other.refreshToken, attemptId })
    const { data } = await auth(world.url, 'refresh', { refreshToken: own.refreshToken, attemptId })
    expect(data).toMatchObject({ familyId: own.familyId, user: { id: attacker.userId } })
    expect(await kindsOf(world, other.familyId)).toEqual(['issued', 'rotated'])
  },
  '/auth/refresh familyId': async () => {
    const own = await signIn(world, attacker.email)
    const before = await kindsOf(world, victim.familyId)
    for (const familyId of [victim.familyId, unknownId]) {
      const { reason } = await auth(world.url, 'refresh', {
        refreshToken: own.refreshToken,
        familyId,
      })
      expect(reason).toBe('refresh_token_missing')
    }
    expect(await kindsOf(world, victim.familyId)).toEqual(before)
  },
  '/auth/reauthenticate attemptId': async () => {
    const own = await signIn(world, attacker.email)
    const other = await signIn(world, victim.email)
    const attemptId = randomUUID()
    await auth(world.url, 'refresh', { refreshToken: other.refreshToken, attemptId })
    const input = { refreshToken: own.refreshToken, password: testPassword, attemptId }
    const { data } = await auth(world.url, 'reauthenticate', input)
    expect(data).toMatchObject({ familyId: own.familyId, user: { id: attacker.userId } })
    expect(await kindsOf(world, other.familyId)).toEqual(['issued', 'rotated'])
  },
  '/auth/reauthenticate familyId': async () => {
    const { refreshToken } = await signIn(world, attacker.email)
    const before = await kindsOf(world, victim.familyId)
    for (const familyId of [victim.familyId, unknownId]) {
      const input = { refreshToken, familyId, password: testPassword, attemptId: randomUUID() }
      expect((await auth(world.url, 'reauthenticate', input)).reason).toBe('refresh_token_missing')
    }
    expect(await kindsOf(world, victim.familyId)).toEqual(before)
  },
  '/auth/sessions user': () => expectOnlyServicesSignIn({ user: victim.userId }),
  '/auth/sessions attemptId': () => expectOnlyServicesSignIn({ attemptId: victim.familyId }),
  '/trpc/sessions.list cursor': async () => {
    for (const cursor of [victim.familyId, 'ffffffff-ffff-ffff-ffff-ffffffffffff']) {
      const { body } = await callAs(world, procedureAt('/trpc/sessions.list'), {
        token: attacker.accessToken,
        input: { cursor },
      })
      const rows = await world.sql`
        select family_id from token_audit.sessions where user_id = ${attacker.userId}`
      const own = rows.map((row) => row.family_id)
      for (const { familyId } of body.result.data.items) expect(own).toContain(familyId)
    }
  },
  '/trpc/account.events cursor': async () => {
    for (const id of [victim.familyId, unknownId]) {
      const { body } = await callAs(world, procedureAt('/trpc/account.events'), {
        token: attacker.accessToken,
        input: { cursor: `${Date.now() + 60_000}:${id}:1` },
      })
      const { items } = body.result.data
      expect(items.length).toBeGreaterThan(0)
      const rows = await world.sql`
        select family_id from token_ledger.token_family where user_id = ${attacker.userId}`
      const own = rows.map((row) => row.family_id)
      for (const { familyId } of items) expect(own).toContain(familyId)
    }
  },
  '/trpc/sessions.revoke familyId': () =>
    expectSameAnswers('/trpc/sessions.revoke', 'familyId', [victim.familyId, admin.familyId]),
  ...Object.fromEntries(
    idFields
      .filter((field) => field.startsWith('/trpc/admin.'))
      .map((field) => {
        const [url, name] = field.split(' ') as [string, string]
        return [field, () => expectSameAnswers(url, name, idsLike(name))]
      }),
  ),
}

/** An access token, of an admin too, starts a session for no user. */
async function expectOnlyServicesSignIn(ids: object): Promise<void> {
  const input = { ...procedureAt('/auth/sessions').sample, ...ids }
  await world.unchanged(async () => {
    for (const { accessToken } of [attacker, admin]) {
      const headers = { authorization: `Bearer ${accessToken}` }
      const answer = await world.request('/auth/sessions', { json: input, headers })
      expect([answer.status, answer.reason]).toEqual([401, 'sign_in_refused'])
    }
  })
}

/** Ids of the field's own kind: the victim's, an admin's, the caller's. */
function idsLike(name: string): string[] {
  const people = [victim, admin, attacker]
  if (/userId$/i.test(name)) return people.map(({ userId }) => userId)
  const families = people.map(({ familyId }) => familyId)
  return name === 'familyId' ? families : families.map((id) => `1:${id}:1`)
}

/** Another user's id is answered byte for byte like an id that does not exist, and nothing changes. */
async function expectSameAnswers(url: string, name: string, ids: readonly string[]): Promise<void> {
  const procedure = procedureAt(url)
  const ask = async (id: string) => {
    const input = { ...procedure.sample, [name]: id }
    const { text } = await callAs(world, procedure, { token: attacker.accessToken, input })
    return text
  }
  await world.unchanged(async () => {
    const unknown = await ask(name.endsWith('Id') ? unknownId : `1:${unknownId}:1`)
    expect(unknown).toMatch(/"reason":"(not_found|role_required)"/)
    for (const id of ids) expect([url, name, await ask(id)]).toEqual([url, name, unknown])
  })
}

function procedureAt(url: string): Procedure {
  return procedures.find((procedure) => procedure.url === url)!
}

describe('AD-04 (ASVS 8.2.2, 7.5.2): the id of another user gives no access', () => {
  test('every field that takes an id has a case', () => {
    expect(idFields.length).toBeGreaterThan(10)
    expect(idFields.toSorted()).toEqual(Object.keys(idCases).toSorted())
  })

  test.each(Object.keys(idCases))(
    'an id of another user in %s is answered like an unknown one',
    async (field) => {
      await idCases[field]!()
    },
  )
})

/** Values that a caller may want to set and must not. */
const wishes: Record<string, unknown> = {
  role: 'admin',
  isAdmin: true,
  userId: unknownId,
  email: 'root@example.com',
  emailVerified: true,
  disabled: false,
  familyId: unknownId,
  passwordHash: 'x',
  scope: 'admin',
  audience: 'https://other.example',
  expiresIn: 1e9,
  sort: 'email; drop table token_event',
}

describe('AD-12, RT-13 (ASVS 15.3.3, RFC 9700 §4.14.2): a caller cannot set a value that the procedure does not take', () => {
  test.each(procedures.filter(({ fields }) => fields !== null))(
    '$url refuses every key that is not its own',
    async (procedure) => {
      await world.unchanged(async () => {
        for (const [key, value] of Object.entries(wishes)) {
          if (key in procedure.fields!) continue
          const asked = { token: admin.accessToken, input: { ...procedure.sample, [key]: value } }
          const { reason } = await callAs(world, procedure, asked)
          expect([key, reason]).toEqual([key, 'validation_failed'])
        }
      })
    },
  )

  test.each(procedures.filter(({ fields }) => fields === null))(
    '$url takes no input and ignores any',
    async (procedure) => {
      const { accessToken: token, ...own } = await signIn(world, attacker.email)
      const said = await callAs(world, procedure, {
        token,
        input: { ...wishes, userId: victim.userId },
      })
      expect(said.status).toBe(200)
      expect(said.text).not.toMatch(/admin|root@/)
      expect(await kindsOf(world, victim.familyId)).toEqual(['issued'])
      expect(await kindsOf(world, own.familyId)).toEqual(['issued'])
    },
  )
})

describe('AD-09 (ASVS 1.2.4, 2.4.1): every request is bounded', () => {
  test('every text, list and number of an input has a maximum', () => {
    for (const { url, fields } of procedures)
      for (const [name, field] of Object.entries(fields ?? {}))
        expect([url, name, isBounded(field)]).toEqual([url, name, true])
  })

  test.each(procedures.filter(({ fields }) => fields?.limit !== undefined))(
    '$url has pages of at most 200',
    async (procedure) => {
      expect(procedure.fields!.limit!.maximum).toBe(200)
      const token = admin.accessToken
      for (const limit of [201, 1e9, 1e300, 0, -1, 1.5, '50', null, true, [1], { gt: 1 }]) {
        const { status, reason } = await callAs(world, procedure, { token, input: { limit } })
        expect([limit, status, reason]).toEqual([limit, 400, 'validation_failed'])
      }
      expect((await callAs(world, procedure, { token, input: { limit: 200 } })).status).toBe(200)
    },
  )

  test('every procedure that lists has pages', () => {
    const lists = procedures.filter(({ url }) => /\.(list|events|checkpoints)$/.test(url))
    for (const { url, fields } of lists)
      expect([url, Object.keys(fields!)]).toMatchObject([
        url,
        expect.arrayContaining(['limit', 'cursor']),
      ])
  })
})

function isBounded(field: FieldSchema): boolean {
  const { type, format, pattern, maxLength, maximum, maxItems, items } = field
  if (field.enum !== undefined || type === 'boolean') return true
  if (type === 'array') return maxItems !== undefined && items !== undefined && isBounded(items)
  if (type === 'string')
    return maxLength !== undefined || format !== undefined || /^\^.*\$$/.test(pattern ?? '')
  return maximum !== undefined
}

test('AD-02, TR-16 (ASVS 15.3.1, 14.2.6): no answer to an admin or a user holds a token, the hash of a token or a key', async () => {
  const person = await signIn(world)
  const { userId, familyId } = person
  const attemptId = randomUUID()
  const refresh = (refreshToken: string) => auth(world.url, 'refresh', { refreshToken, attemptId })
  const first = (await refresh(person.refreshToken)).data as BodySession
  await refresh(person.refreshToken)
  const second = (await refresh(first.refreshToken)).data as BodySession
  const { refreshToken } = person
  expect((await auth(world.url, 'refresh', { refreshToken })).reason).toBe('refresh_token_reused')
  const kinds = ['issued', 'rotated', 'replayed', 'rotated', 'reuse_detected']
  expect(await kindsOf(world, familyId)).toEqual(kinds)
  const tokens = [person, first, second].flatMap((one) => [one.accessToken, one.refreshToken])
  const own = await signIn(world, person.email)

  const inputs: Record<string, unknown> = {
    '/trpc/admin.sessions.list': { userId },
    '/trpc/admin.sessions.get': { familyId },
    '/trpc/admin.sessions.stateAt': { familyId, at: new Date(Date.now() + 60_000).toISOString() },
    '/trpc/admin.sessions.revoke': { familyId: own.familyId, reason: 'test' },
    '/trpc/admin.sessions.revokeMany': { familyIds: [own.familyId], reason: 'test' },
    '/trpc/admin.users.list': { limit: 200 },
    '/trpc/admin.users.create': { email: 'new@example.com', password: testPassword, role: 'user' },
    '/trpc/admin.users.setRole': { userId, role: 'user' },
    '/trpc/admin.users.disable': { userId },
    '/trpc/admin.users.enable': { userId },
    '/trpc/admin.users.revokeSessions': { userId, reason: 'test' },
    '/trpc/admin.ledger.events': { limit: 200 },
    '/trpc/admin.ledger.verify': {},
    '/trpc/admin.ledger.checkpoint': {},
    '/trpc/admin.ledger.checkpoints': { limit: 200 },
    '/trpc/admin.ledger.position': {},
    '/trpc/admin.incidents.list': { limit: 200 },
    '/trpc/admin.incidents.byClient': {},
    '/trpc/admin.actions.list': { limit: 200 },
    '/trpc/admin.overview': lastHour(),
    '/trpc/admin.stats': { ...lastHour(), bucket: 'minute' },
  }
  const answers: Record<string, string> = {}
  for (const procedure of adminCalls) {
    if (procedure.type === 'subscription') continue
    const input = inputs[procedure.url]
    const asked = { token: admin.accessToken, input }
    const { status, text } = await callAs(world, procedure, asked)
    expect([procedure.url, status, input === undefined]).toEqual([procedure.url, 200, false])
    answers[procedure.url] = text
  }
  const tailed = firstEvents(
    readTail(world.url, admin.accessToken, { after: `1:${unknownId}:1` }),
    5,
  )
  answers['/trpc/admin.ledger.tail'] = JSON.stringify(await tailed)
  for (const url of ['/trpc/me', '/trpc/sessions.list', '/trpc/account.events'])
    answers[url] = (await callAs(world, procedureAt(url), { token: admin.accessToken })).text

  const hidden = await secretsOf(world.sql)
  expect(hidden.length).toBeGreaterThan(20)
  for (const [url, text] of Object.entries(answers)) {
    expect([url, hidden.filter((secret) => text.includes(secret))]).toEqual([url, []])
    expect([url, tokens.filter((token) => text.includes(token))]).toEqual([url, []])
    expect([url, /tlr1\.|eyJ|\$argon2|BEGIN|Salt|tokenHash|attemptHash/i.exec(text)]).toEqual([
      url,
      null,
    ])
  }
})

function lastHour() {
  const now = Date.now()
  return {
    from: new Date(now - 1_800_000).toISOString(),
    to: new Date(now + 1_800_000).toISOString(),
  }
}

/** Every secret in the tables, in each way it may be written. */
async function secretsOf(sql: typeof world.sql): Promise<string[]> {
  const events = await sql`
    select token_hash, salt, attempt_hash, origin_salt from token_ledger.token_event`
  const keys = await sql`select sealed_private_key from token_ledger.signing_key`
  const people = await sql`select password_hash from token_ledger.user_account`
  const found: unknown[] = [...events, ...keys, ...people].flatMap((row) => Object.values(row))
  return found.flatMap((value) => {
    if (value === null) return []
    if (typeof value === 'string') return [value]
    const bytes = value as Buffer
    return [bytes.toString('hex'), bytes.toString('base64url'), bytes.toString('base64')]
  })
}
