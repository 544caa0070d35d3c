import { afterAll, beforeAll, expect, test } from 'vitest'
import { attackedServer } from '../support/attacked-server.ts'
import { beginSessions } from '../support/begun-sessions.ts'
import { auth, query } from '../support/http.ts'
import { startServer, type ServerProcess } from '../support/server.ts'
import { fromPage, kindsOf, signIn } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'

const limited = { RATE_LIMITS: 'on' }
const attacked = attackedServer(limited)

/** A second process on the same database. */
let other: ServerProcess
beforeAll(async () => {
  other = await startServer(attacked.owner.url, limited)
})
afterAll(() => other[Symbol.asyncDispose]())

test('RT-22 (ASVS 2.4.1): one family gets a limited number of refreshes a minute from all processes together, and other families are not delayed', async () => {
  const mine = await signIn(attacked)
  let { refreshToken } = mine
  let answered = 0
  let refused
  while (refused === undefined && answered < 200) {
    const { url } = answered % 2 ? attacked : other
    const answer = await auth(url, 'refresh', { refreshToken })
    if (answer.status === 200) {
      refreshToken = answer.data.refreshToken
      answered += 1
    } else refused = answer
  }
  // Thirty are counted in the database, and each process allows ten more without counting; twice that if the minute changes.
  expect(answered).toBeGreaterThanOrEqual(30)
  expect(answered).toBeLessThanOrEqual(70)
  expect([refused?.status, refused?.reason]).toEqual([429, 'too_many_attempts'])
  const seconds = Number(refused?.headers.get('retry-after'))
  expect([seconds > 0, seconds <= 60]).toEqual([true, true])
  for (const { url } of [attacked, other])
    expect((await auth(url, 'refresh', { refreshToken })).reason).toBe('too_many_attempts')

  // The limit does not end the session, and other sessions are not affected.
  const [row] = await attacked.sql<{ status: string }[]>`
    select status from token_audit.sessions where family_id = ${mine.familyId}`
  expect(row?.status).toBe('active')
  const { refreshToken: theirs } = await signIn(attacked)
  expect((await auth(attacked.url, 'refresh', { refreshToken: theirs })).status).toBe(200)
})

test('RT-22: refused refreshes count as well, and write nothing', async () => {
  const { refreshToken } = await signIn(attacked)
  await auth(attacked.url, 'logout', { refreshToken })
  await attacked.unchanged(async () => {
    const answers = await Promise.all(
      Array.from({ length: 100 }, () =>
        attacked.request('/auth/refresh', { json: { refreshToken } }),
      ),
    )
    const reasons = new Set(answers.map(({ reason }) => reason))
    expect(reasons).toEqual(new Set(['session_revoked', 'too_many_attempts']))
  })
})

test('RT-22: a flood of forged tokens costs the database nothing', async () => {
  const { refreshToken } = await signIn(attacked)
  const counted = () => attacked.sql`select * from token_ledger.rate_limit order by key`
  const before = await counted()
  const forged = Array.from(
    { length: 500 },
    (_, i) => refreshToken.slice(0, -4) + String(1_000 + i),
  )
  await attacked.unchanged(async () => {
    const answers = await Promise.all(
      forged.map((token) => attacked.request('/auth/refresh', { json: { refreshToken: token } })),
    )
    expect(new Set(answers.map(({ reason }) => reason))).toEqual(
      new Set(['refresh_token_malformed']),
    )
  })
  expect(await counted()).toEqual(before)
  // The flood does not count against the real session.
  expect((await attacked.request('/auth/refresh', { json: { refreshToken } })).status).toBe(200)
})

test('RT-22 (ASVS 2.4.1): a flood of one token takes no place in the queue from other sessions', async () => {
  const { refreshToken } = await signIn(attacked)
  const user = await makeUser(attacked.owner.url)
  const others = await beginSessions(attacked.owner.url, user, 20)
  const body = JSON.stringify({ refreshToken })
  const head = `POST /auth/refresh HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`
  const pipelined = `${head}\r\n\r\n${body}`.repeat(9)
  const last = `${head}\r\nconnection: close\r\n\r\n${body}`
  const flood = Array.from({ length: 200 }, () => attacked.raw(pipelined + last))
  const answers = await Promise.all(
    others.map((session) => auth(attacked.url, 'refresh', { refreshToken: session.refreshToken })),
  )
  expect(answers.map(({ status }) => status)).toEqual(others.map(() => 200))
  // An answer follows the one before it without a line break.
  const statuses = (await Promise.all(flood)).flatMap(({ text }) =>
    Array.from(text.matchAll(/HTTP\/1\.1 (\d{3}) /g), ([, status]) => Number(status)),
  )
  // 200: the rotation and its replays. 401: the reuse that the flood itself becomes after the grace window.
  expect(statuses.filter((status) => ![200, 401, 429].includes(status))).toEqual([])
  expect(statuses).toContain(429)
})

test.each([
  { what: 'what it is refused', transport: 'cookie' },
  { what: 'its own refreshes', transport: 'body' },
])(
  'RT-05, RT-22 (RFC 9700 §4.14.2): a thief who uses up the limit with $what does not avoid reuse detection',
  async ({ transport }) => {
    const owner = await signIn(attacked)
    let stolen = owner.refreshToken
    let isUsedUp = false
    for (let i = 0; i < 200 && !isUsedUp; i++) {
      const hasRotatedTwice = i >= 2
      const answer =
        hasRotatedTwice && transport === 'cookie'
          ? await fromPage(attacked, 'refresh', `refresh_token=${stolen}`)
          : await auth(attacked.url, 'refresh', { refreshToken: stolen })
      isUsedUp = answer.reason === 'too_many_attempts'
      stolen = answer.data?.refreshToken ?? stolen
    }
    expect(isUsedUp).toBe(true)
    const { familyId, refreshToken } = owner
    expect((await auth(attacked.url, 'refresh', { refreshToken })).reason).toBe(
      'refresh_token_reused',
    )
    expect((await kindsOf(attacked, familyId)).at(-1)).toBe('reuse_detected')
    const answer = await query(attacked.url, 'sessions.list', owner.accessToken)
    expect(answer.reason).toBe('access_token_revoked')
  },
)
