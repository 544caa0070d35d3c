import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { maxTailsPerUser } from '../../server/audit/tail.ts'
import { adminEmail, attackedServer } from '../support/attacked-server.ts'
import { callAs, procedures, type Procedure } from '../support/procedures.ts'
import { signIn, type BodySession } from '../support/sessions.ts'
import { waitForOpenTails } from '../support/tail.ts'
import { makeUser, testPassword } from '../support/users.ts'

const attacked = attackedServer()
let headers: Record<string, string>
let admin: BodySession
beforeAll(async () => {
  admin = await signIn(attacked, adminEmail)
  headers = { authorization: `Bearer ${admin.accessToken}` }
})

/** A sign-in by a service is tried with a user who exists. */
function sampleOf({ url, sample }: Procedure): object {
  if (url !== '/auth/sessions') return sample
  return { ...sample, user: admin.userId, attemptId: randomUUID() }
}

const someId = '0190b5d2-0000-7000-8000-000000000001'

/** Values that have broken a parser, a type or a column somewhere; each is sent in each field. */
const hostile: readonly unknown[] = [
  // Text: Postgres refuses NUL; a lone surrogate becomes U+FFFD, so that two names become one.
  '\0',
  'a\0b',
  '\ud800',
  'a\udfff@example.com',
  'a@b\0.example',
  '\u202eadmin',
  '\u200b',
  '\r\nset-cookie: a=b',
  '\u001b[31m',
  '<script>alert(1)</script>',
  "'; drop table users; --",
  '\\',
  '%',
  '%00',
  '_',
  '../../../../etc/passwd',
  '{"$ne":null}',
  '',
  ' ',
  'a'.repeat(100),
  'é'.repeat(1_000),
  'a'.repeat(3_000),
  '😀'.repeat(256),
  // Ids, instants and cursors at the ends of their ranges.
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  someId.toUpperCase(),
  `${someId}\n`,
  `{${someId}}`,
  someId.replaceAll('-', ''),
  '0000-01-01T00:00:00Z',
  '0001-01-01T00:00:00+23:59',
  '9999-12-31T23:59:59.999999999-23:59',
  '1970-01-01T00:00:00Z',
  '2026-02-29T00:00:00Z',
  '2026-01-01T24:00:00Z',
  '2026-01-01',
  'infinity',
  'now',
  `0:${someId}`,
  `999999999999999:${someId}`,
  `0:${someId}:0`,
  `9999999999999999999:${someId}:999999999`,
  // Other types.
  null,
  true,
  0,
  -1,
  1.5,
  200,
  201,
  2 ** 31,
  2 ** 53,
  -(2 ** 63),
  1e308,
  [],
  {},
  [['a']],
  ['issued', 'issued'],
  Array.from({ length: 500 }, () => 'issued'),
  { toString: 'x', valueOf: 1, length: 1 },
]

/** As many calls as a user may have streams open. */
const atOnce = maxTailsPerUser

const fields = procedures.flatMap((procedure) =>
  Object.keys(procedure.fields ?? {}).map((name) => [procedure.url, name, procedure] as const),
)

describe('HT-09 V21 (ASVS 16.5.1): no value in any field of any procedure causes an internal error', () => {
  test.each(fields)('%s: %s', { timeout: 120_000 }, async (_url, name, procedure) => {
    const send = async (value: unknown) => {
      const input = { ...sampleOf(procedure), [name]: value }
      const { status, text, reason } = await callAs(attacked, procedure, {
        token: admin.accessToken,
        input,
      })
      expect([value, status]).toEqual([value, expect.toSatisfy((said: number) => said < 500)])
      expect([value, reason]).not.toEqual([value, 'internal_error'])
      expect([value, reason]).not.toEqual([value, 'too_many_attempts'])
      // An error does not repeat what was sent (HT-07).
      if (status >= 400) expect(text).not.toMatch(/<script>|drop table|\$ne|passwd/)
    }
    for (let i = 0; i < hostile.length; i += atOnce) {
      await Promise.all(hostile.slice(i, i + atOnce).map(send))
      // A stream that the server has not left yet would take the place of one of the next.
      if (procedure.type === 'subscription') await waitForOpenTails(attacked.url, 0)
    }
  })

  test('no reason that an admin gives about an existing user causes an internal error', async () => {
    const words = hostile.filter((value) => typeof value === 'string')
    const { userId, email } = await signIn(attacked)
    for (const reason of words) {
      const { familyId } = await signIn(attacked, email)
      const about = [
        ['sessions.revoke', { familyId, reason }],
        ['users.revokeSessions', { userId, reason }],
      ] as const
      for (const [procedure, json] of about) {
        const answer = await attacked.request(`/trpc/admin.${procedure}`, { json, headers })
        expect([reason, [200, 400]]).toEqual([reason, expect.arrayContaining([answer.status])])
      }
    }
    const kept = await attacked.sql<{ reason: string }[]>`
      select reason from token_ledger.admin_action where reason like '%' || chr(65533) || '%'`
    expect(kept).toHaveLength(0)
  })

  test('a valid call succeeds although headers and device name hold hostile values', async () => {
    const { email } = await makeUser(attacked.owner.url)
    const names = hostile.filter((value) => typeof value === 'string' && value.length <= 100)
    for (const deviceName of names) {
      // The hostile values again, without the bytes that no header can hold.
      const userAgent = Buffer.from(`x${String(deviceName)}`).toString('latin1')
      const answer = await attacked.request('/auth/login', {
        headers: { 'user-agent': userAgent.replace(/\p{Cc}/gu, '\t') },
        json: { email, password: testPassword, deviceName, transport: 'body' },
      })
      expect([deviceName, answer.status]).toEqual([deviceName, 200])
    }
    const { accessToken } = await signIn(attacked, email)
    const list = await attacked.request('/trpc/sessions.list', {
      method: 'GET',
      headers: { authorization: `Bearer ${accessToken}` },
    })
    expect(list.body.result.data.items).toHaveLength(names.length + 1)
  })
})

describe('HT-09 (ASVS 16.5.1): no malformed input causes an internal error', () => {
  const deep = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
  const bodies = [
    '',
    ' ',
    '{',
    '"',
    'null',
    'nul',
    'NaN',
    '1e999',
    '-',
    '{"email":"a"',
    '{"email":"a","email":"b"}',
    '{"__proto__":{"a":1}}',
    '{"a":1}{"b":2}',
    '\ufeff{}',
    deep(8_000),
    `{"email":${deep(7_000)}}`,
    `{"a":`.repeat(2_000),
    Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]),
    Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]),
    Buffer.alloc(1_000),
  ]

  test.each(procedures.filter(({ type }) => type === 'mutation').map(({ url }) => url))(
    'a malformed body to %s is refused',
    async (url) => {
      await attacked.unchanged(async () => {
        for (const body of bodies) {
          const answer = await attacked.request(url, {
            headers: { 'content-type': 'application/json', 'x-canary': '1' },
            body,
          })
          expect([200, 400, 401, 404]).toContain(answer.status)
        }
      })
    },
  )

  test.each(procedures.filter(({ type }) => type === 'query').map(({ url }) => url))(
    'a malformed query to %s is refused',
    async (url) => {
      const inputs = [
        '',
        '%',
        '%ff',
        '%00',
        '{',
        'undefined',
        deep(5_000),
        encodeURIComponent('{"limit":1e400}'),
        '{}&input={}',
        '{}&batch=0',
        '{}&batch=1&batch=1',
        '1'.repeat(10_000),
      ]
      await attacked.unchanged(async () => {
        for (const input of inputs) {
          const answer = await attacked.request(`${url}?input=${input}`, { method: 'GET', headers })
          expect([url, input.slice(0, 20), answer.status]).toEqual([
            url,
            input.slice(0, 20),
            expect.toSatisfy((said: number) => said < 500),
          ])
        }
      })
    },
  )

  test.each([
    '%',
    '%f',
    '%ff',
    '%c0%af',
    '%00',
    '%ed%a0%80',
    '%E0%80%AF',
    '\u00ff',
    '[',
    '?',
    '#',
    '@',
    '//',
    '\\',
  ])('a request for the malformed path %s is refused', async (part) => {
    const { hostname, port } = new URL(attacked.url)
    for (const path of [`/${part}`, `/auth/${part}`, `/trpc/${part}`, `/console/${part}`]) {
      const { statuses } = await attacked.raw(
        Buffer.from(
          `GET ${path} HTTP/1.1\r\nhost: ${hostname}:${port}\r\nconnection: close\r\n\r\n`,
          'latin1',
        ),
      )
      expect([path, statuses]).toEqual([path, [expect.toSatisfy((said: number) => said < 500)]])
    }
  })
})

describe('V21 (ASVS 15.3.4): a value that is not a token is refused before the database is asked', () => {
  const malformed: [string, string][] = [
    ['an empty text', ''],
    ['one letter', 'a'],
    ['a NUL', '\0'],
    ['a lone surrogate', '\ud800'],
    ['the prefix alone', 'tlr1.'],
    ['a token with a wrong MAC', `tlr1.${'A'.repeat(91)}`],
    ['a token of another version', `tlr2.${'A'.repeat(91)}`],
    ['letters beyond ASCII', 'é'.repeat(96)],
    ['200 letters', 'a'.repeat(200)],
  ]

  test.each(malformed)('%s is refused as malformed', async (_what, refreshToken) => {
    await attacked.unchanged(async () => {
      const inBody = await attacked.request('/auth/refresh', { json: { refreshToken } })
      expect(inBody.reason).toBe('refresh_token_malformed')
      if (!/^[\x20-\x7e]*$/.test(refreshToken)) return
      const asCookie = await attacked.request('/auth/refresh', {
        headers: { origin: attacked.url, cookie: `refresh_token=${refreshToken}` },
        json: {},
      })
      expect(asCookie.reason).toBe('refresh_token_malformed')
    })
  })
})
