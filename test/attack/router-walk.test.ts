import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { adminEmail, attackedServer } from '../support/attacked-server.ts'
import { call, searchOf } from '../support/calls.ts'
import { auth, mutate } from '../support/http.ts'
import { allProcedures, type FieldSchema, type Procedure } from '../support/procedures.ts'
import { kindsOf, signIn, type BodySession } from '../support/sessions.ts'
import { firstEvents, readTail } from '../support/tail.ts'
import { makeUser, testPassword } from '../support/users.ts'

/** Who may call: anybody; a token; a session that is alive now; the role admin as it is now. */
type Access = 'public' | 'signed in' | 'live' | 'admin'

const nobody = '0198c0de-0000-7000-8000-00000000dead'
const day = { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' }

/** Every procedure with who may call it, and an input that it takes. A new one needs a line here. */
const declared: Record<string, { access: Access; input?: unknown }> = {
  'auth/register': { access: 'public', input: { email: 'not an address', password: 'x' } },
  'auth/login': { access: 'public', input: { email: 'not an address', password: 'x' } },
  'auth/refresh': { access: 'public', input: { refreshToken: 'x' } },
  'auth/logout': { access: 'public', input: { refreshToken: 'x' } },
  'trpc/me': { access: 'signed in' },
  'trpc/sessions.list': { access: 'live', input: { limit: 1 } },
  'trpc/sessions.revoke': { access: 'live', input: { familyId: nobody } },
  'trpc/sessions.revokeOthers': { access: 'live' },
  'trpc/account.changePassword': {
    access: 'live',
    input: { currentPassword: 'x', newPassword: testPassword },
  },
  'trpc/admin.sessions.list': { access: 'admin', input: { limit: 1 } },
  'trpc/admin.sessions.get': { access: 'admin', input: { familyId: nobody } },
  'trpc/admin.sessions.stateAt': { access: 'admin', input: { familyId: nobody, at: day.from } },
  'trpc/admin.sessions.revoke': { access: 'admin', input: { familyId: nobody, reason: 'x' } },
  'trpc/admin.users.list': { access: 'admin', input: { limit: 1 } },
  'trpc/admin.users.create': { access: 'admin', input: { email: 'no address', role: 'user' } },
  'trpc/admin.users.setRole': { access: 'admin', input: { userId: nobody, role: 'admin' } },
  'trpc/admin.users.disable': { access: 'admin', input: { userId: nobody } },
  'trpc/admin.users.enable': { access: 'admin', input: { userId: nobody } },
  'trpc/admin.users.revokeSessions': { access: 'admin', input: { userId: nobody, reason: 'x' } },
  'trpc/admin.ledger.events': { access: 'admin', input: { limit: 1 } },
  'trpc/admin.ledger.verify': { access: 'admin', input: { familyId: nobody } },
  'trpc/admin.ledger.tail': { access: 'admin', input: {} },
  'trpc/admin.incidents.list': { access: 'admin', input: { limit: 1 } },
  'trpc/admin.stats': { access: 'admin', input: { ...day, bucket: 'hour' } },
}

const procedures = allProcedures()
const withAccess = (...levels: Access[]) =>
  procedures.filter(({ at }) => levels.includes(declared[at]?.access ?? 'public'))

const world = attackedServer()
let admin: BodySession
let attacker: BodySession
let victim: BodySession

beforeAll(async () => {
  admin = await signIn(world, adminEmail)
  attacker = await signIn(world)
  victim = await signIn(world)
})

test('TR-13 (ASVS 8.2.1): every procedure of the router has its declared access level', () => {
  expect(procedures.map(({ at }) => at).toSorted()).toEqual(Object.keys(declared).toSorted())
})

describe('TR-13 (ASVS 8.2.1): a procedure answers by its level', () => {
  test.each([undefined, { nonsense: true }])('without a token: access_token_missing (%j)', (wrong) =>
    expectAll(withAccess('signed in', 'live', 'admin'), {
      token: undefined,
      wrong,
      reason: 'access_token_missing',
      status: 401,
    }),
  )

  test.each([undefined, { nonsense: true }])('with the token of a user: role_required (%j)', (wrong) =>
    expectAll(withAccess('admin'), {
      token: attacker.accessToken,
      wrong,
      reason: 'role_required',
      status: 403,
    }),
  )

  test('AD-01 (ASVS 8.3.2): with the token of an admin who was demoted since: role_required', async () => {
    const { email, id } = await makeUser(world.database.url, undefined, 'admin')
    const { accessToken } = await signIn(world, email)
    expect((await call(world, stats, { token: accessToken, input: statsInput })).status).toBe(200)
    const set = { userId: id, role: 'user' }
    expect((await mutate(world.url, 'admin.users.setRole', admin.accessToken, set)).status).toBe(200)
    const expected = { token: accessToken, reason: 'role_required', status: 403 }
    await expectAll(withAccess('admin'), expected)
  })

  test('AD-01, AT-08, V6 (ASVS 7.4.1): with a token whose session was ended: access_token_revoked', async () => {
    const { email } = await makeUser(world.database.url, undefined, 'admin')
    const { accessToken, refreshToken } = await signIn(world, email)
    await auth(world.url, 'logout', { refreshToken })
    const expected = { token: accessToken, reason: 'access_token_revoked', status: 401 }
    await expectAll(withAccess('live', 'admin'), expected)
  })

  test('the token of an admin opens what asks for one', async () => {
    for (const procedure of withAccess('admin')) {
      const { input } = declared[procedure.at]!
      const { reason = 'none' } = await call(world, procedure, { token: admin.accessToken, input })
      expect([procedure.at, reason]).toEqual([
        procedure.at,
        expect.stringMatching(/^(none|not_found|validation_failed)$/),
      ])
    }
  })

  test('a public one looks at no access token, good or bad', async () => {
    for (const procedure of withAccess('public')) {
      const { input } = declared[procedure.at]!
      const without = await call(world, procedure, { input })
      for (const token of [attacker.accessToken, admin.accessToken, 'nonsense'])
        expect(await call(world, procedure, { token, input })).toEqual(without)
    }
  })
})

const stats = { at: 'trpc/admin.stats', type: 'query' } as const
const statsInput = { ...day, bucket: 'hour' }

async function expectAll(
  asked: readonly Procedure[],
  expected: { token: string | undefined; wrong?: unknown; reason: string; status: number },
): Promise<void> {
  const { token, wrong, ...said } = expected
  await world.unchanged(async () => {
    for (const procedure of asked) {
      // A tail takes its input in another way; it is refused before it is looked at.
      const input = wrong ?? declared[procedure.at]?.input
      const answer = await call(world, procedure, { token, input })
      expect([procedure.at, answer]).toMatchObject([procedure.at, said])
    }
  })
}

/** Whatever names a thing of somebody. */
function isId(name: string, { format, pattern = '' }: FieldSchema): boolean {
  return format === 'uuid' || name.endsWith('Id') || pattern.includes('[0-9a-f]')
}

const idFields = procedures.flatMap(({ at, input }) =>
  Object.entries(input?.properties ?? {})
    .filter(([name, field]) => isId(name, field))
    .map(([name]) => `${at} ${name}`),
)

/** What a stranger tries with the id of somebody else, for each field that takes one. A new one needs a line here. */
const idCases: Record<string, () => Promise<void>> = {
  'auth/refresh attemptId': async () => {
    const own = await signIn(world, attacker.email)
    const other = await signIn(world, victim.email)
    const attemptId = randomUUID()
    await auth(world.url, 'refresh', { refreshToken: other.refreshToken, attemptId })
    const { data } = await auth(world.url, 'refresh', { refreshToken: own.refreshToken, attemptId })
    expect(data).toMatchObject({ familyId: own.familyId, user: { id: attacker.userId } })
    expect(await kindsOf(world, other.familyId)).toEqual(['issued', 'rotated'])
  },
  'trpc/sessions.list cursor': async () => {
    for (const cursor of [victim.familyId, 'ffffffff-ffff-ffff-ffff-ffffffffffff']) {
      const path = `/trpc/sessions.list${searchOf({ cursor })}`
      const headers = { authorization: `Bearer ${attacker.accessToken}` }
      const { body } = await world.request(path, { method: 'GET', headers })
      const rows = await world.sql`
        select family_id from token_audit.sessions where user_id = ${attacker.userId}`
      const own = rows.map((row) => row.family_id)
      for (const { familyId } of body.result.data.items) expect(own).toContain(familyId)
    }
  },
  'trpc/sessions.revoke familyId': () =>
    expectSameAnswers('trpc/sessions.revoke', 'familyId', [victim.familyId, admin.familyId]),
  ...Object.fromEntries(
    idFields
      .filter((field) => field.startsWith('trpc/admin.'))
      .map((field) => {
        const [at, name] = field.split(' ') as [string, string]
        return [field, () => expectSameAnswers(at, name, idsLike(name))]
      }),
  ),
}

/** The field's own kind of id: of the victim, of an admin, of the caller. */
function idsLike(name: string): string[] {
  const people = [victim, admin, attacker]
  if (name === 'userId') return people.map(({ userId }) => userId)
  const families = people.map(({ familyId }) => familyId)
  return name === 'familyId' ? families : families.map((id) => `1:${id}:1`)
}

/** An id of somebody else is answered to the byte as one that nobody has, and nothing happens. */
async function expectSameAnswers(at: string, name: string, ids: readonly string[]): Promise<void> {
  const procedure = procedures.find((one) => one.at === at)!
  const ask = (id: string) => {
    const input = { ...(declared[at]?.input as object), [name]: id }
    return call(world, procedure, { token: attacker.accessToken, input })
  }
  await world.unchanged(async () => {
    const unknown = await ask(name.endsWith('Id') || at.includes('sessions') ? nobody : `1:${nobody}:1`)
    expect([403, 404]).toContain(unknown.status)
    for (const id of ids) expect([at, name, await ask(id)]).toEqual([at, name, unknown])
  })
}

describe("AD-04 (ASVS 8.2.2, 7.5.2): somebody else's id", () => {
  test('every field that takes an id has its case', () => {
    expect(idFields.length).toBeGreaterThan(10)
    expect(idFields.toSorted()).toEqual(Object.keys(idCases).toSorted())
  })

  test.each(Object.keys(idCases))('is worth nothing as %s', async (field) => {
    await idCases[field]!()
  })
})

/** What a caller would like to set, and may not. */
const wishes: Record<string, unknown> = {
  role: 'admin',
  roles: ['admin'],
  isAdmin: true,
  userId: nobody,
  id: nobody,
  sub: nobody,
  email: 'root@example.com',
  emailVerified: true,
  disabled: false,
  disabledAt: null,
  familyId: nobody,
  sessionId: nobody,
  status: 'active',
  passwordHash: 'x',
  epoch: 0,
  scope: 'admin',
  audience: 'https://other.example',
  resource: 'https://other.example',
  expiresIn: 1e9,
  refreshExpiresAt: '2999-01-01T00:00:00Z',
  actorUserId: nobody,
  exceptFamilyId: nobody,
  sort: 'email; drop table token_event',
}

describe('AD-12, RT-13 (ASVS 15.3.3, RFC 9700 §4.14.2): nobody sets what they were not asked for', () => {
  test('every input is closed', () => {
    for (const { at, input } of procedures)
      if (input !== null) expect([at, input.additionalProperties]).toEqual([at, false])
  })

  test.each(procedures.filter(({ input, type }) => input !== null && type !== 'subscription'))(
    '$at takes no key beside its own',
    async (procedure) => {
      const { input } = declared[procedure.at]!
      const own = procedure.input!.properties ?? {}
      await world.unchanged(async () => {
        for (const [key, value] of Object.entries(wishes)) {
          if (key in own) continue
          const asked = { token: admin.accessToken, input: { ...(input as object), [key]: value } }
          const { status, reason } = await call(world, procedure, asked)
          expect([key, status, reason]).toEqual([key, 400, 'validation_failed'])
        }
      })
    },
  )

  test.each(procedures.filter(({ input }) => input === null))(
    '$at, which takes nothing, heeds nothing',
    async (procedure) => {
      const { accessToken: token, ...own } = await signIn(world, attacker.email)
      const said = await call(world, procedure, { token, input: { ...wishes, userId: victim.userId } })
      expect(said.status).toBe(200)
      expect(said.text).not.toMatch(/admin|root@/)
      expect(await kindsOf(world, victim.familyId)).toEqual(['issued'])
      expect(await kindsOf(world, own.familyId)).toEqual(['issued'])
    },
  )
})

describe('AD-09 (ASVS 1.2.4, 2.4.1): nothing is asked without a bound', () => {
  test('every text, list and number of an input has its most', () => {
    for (const { at, input } of procedures)
      for (const [name, field] of Object.entries(input?.properties ?? {}))
        expect([at, name, isBounded(field)]).toEqual([at, name, true])
  })

  test.each(procedures.filter(({ input }) => input?.properties?.limit !== undefined))(
    '$at has pages of 200 at most',
    async (procedure) => {
      expect(procedure.input!.properties!.limit!.maximum).toBe(200)
      const token = admin.accessToken
      for (const limit of [201, 1e9, 1e300, 0, -1, 1.5, '50', null, true, [1], { gt: 1 }]) {
        const { status, reason } = await call(world, procedure, { token, input: { limit } })
        expect([limit, status, reason]).toEqual([limit, 400, 'validation_failed'])
      }
      expect((await call(world, procedure, { token, input: { limit: 200 } })).status).toBe(200)
    },
  )

  test('everything that lists has pages', () => {
    const lists = procedures.filter(({ at }) => /\.(list|events)$/.test(at))
    for (const { at, input } of lists)
      expect([at, Object.keys(input!.properties!)]).toMatchObject([
        at,
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

test('AD-02, TR-16 (ASVS 15.3.1, 14.2.6): no answer to an admin, or to the user, holds a token, a hash of one or a key', async () => {
  const person = await signIn(world)
  const { userId, familyId } = person
  const attemptId = randomUUID()
  const refresh = (refreshToken: string) => auth(world.url, 'refresh', { refreshToken, attemptId })
  const first = (await refresh(person.refreshToken)).data as BodySession
  await refresh(person.refreshToken)
  const second = (await refresh(first.refreshToken)).data as BodySession
  expect((await refresh(person.refreshToken)).reason).toBe('refresh_token_reused')
  const kinds = ['issued', 'rotated', 'replayed', 'rotated', 'reuse_detected']
  expect(await kindsOf(world, familyId)).toEqual(kinds)
  const tokens = [person, first, second].flatMap((one) => [one.accessToken, one.refreshToken])
  const own = await signIn(world, person.email)

  const inputs: Record<string, unknown> = {
    'trpc/admin.sessions.list': { userId },
    'trpc/admin.sessions.get': { familyId },
    'trpc/admin.sessions.stateAt': { familyId, at: new Date(Date.now() + 60_000).toISOString() },
    'trpc/admin.sessions.revoke': { familyId: own.familyId, reason: 'test' },
    'trpc/admin.users.list': { limit: 200 },
    'trpc/admin.users.create': { email: 'new@example.com', password: testPassword, role: 'user' },
    'trpc/admin.users.setRole': { userId, role: 'user' },
    'trpc/admin.users.disable': { userId },
    'trpc/admin.users.enable': { userId },
    'trpc/admin.users.revokeSessions': { userId, reason: 'test' },
    'trpc/admin.ledger.events': { limit: 200 },
    'trpc/admin.ledger.verify': {},
    'trpc/admin.incidents.list': { limit: 200 },
    'trpc/admin.stats': { ...lastHour(), bucket: 'minute' },
  }
  const answers: Record<string, string> = {}
  for (const procedure of withAccess('admin')) {
    if (procedure.type === 'subscription') continue
    const input = inputs[procedure.at]
    const asked = { token: admin.accessToken, input }
    const { status, text } = await call(world, procedure, asked)
    expect([procedure.at, status, input === undefined]).toEqual([procedure.at, 200, false])
    answers[procedure.at] = text
  }
  const told = firstEvents(readTail(world.url, admin.accessToken, { after: `1:${nobody}:1` }), 5)
  answers['trpc/admin.ledger.tail'] = JSON.stringify(await told)
  const again = { token: admin.accessToken }
  for (const at of ['trpc/me', 'trpc/sessions.list'])
    answers[at] = (await call(world, { at, type: 'query' }, again)).text

  const hidden = await secretsOf(world.sql)
  expect(hidden.length).toBeGreaterThan(20)
  for (const [at, text] of Object.entries(answers)) {
    expect([at, hidden.filter((secret) => text.includes(secret))]).toEqual([at, []])
    expect([at, tokens.filter((token) => text.includes(token))]).toEqual([at, []])
    expect([at, /tlr1\.|eyJ|\$argon2|BEGIN|Salt|tokenHash|attemptHash/i.exec(text)]).toEqual([at, null])
  }
})

function lastHour() {
  const now = Date.now()
  return {
    from: new Date(now - 1_800_000).toISOString(),
    to: new Date(now + 1_800_000).toISOString(),
  }
}

/** Everything secret that the tables hold, however it might be written. */
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
