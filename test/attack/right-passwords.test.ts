import { expect, test } from 'vitest'
import { attackedServer } from '../support/attacked-server.ts'
import { auth } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'

const attacked = attackedServer(
  {
    RATE_LIMITS: 'on',
    TRUSTED_PROXIES: '127.0.0.1/32',
    METRICS_TOKEN: 'a-metrics-token-of-24-letters',
  },
  { mayShed: true },
)
const wrong = 'not the password at all'

function login(email: string, forwarded: string, password = testPassword) {
  const headers = { 'x-forwarded-for': forwarded }
  return attacked.request('/auth/login', { headers, json: { email, password, transport: 'body' } })
}

test('a user signs in 30 times in ten minutes, from all networks together, and a right password gives none of them back', async () => {
  const { email } = await makeUser(attacked.owner.url)
  const statuses: number[] = []
  for (let i = 0; i < 34; i++) statuses.push((await login(email, `203.0.113.${i}`)).status)
  expect(statuses.filter((status) => status === 200)).toHaveLength(30)
  expect(statuses.slice(30)).toEqual([429, 429, 429, 429])
  const refused = await login(email, '203.0.113.99')
  const seconds = Number(refused.headers['retry-after'])
  expect([seconds > 0, seconds <= 600]).toEqual([true, true])
  // Sessions that the user has go on, and other users sign in from the same networks.
  const { email: other } = await makeUser(attacked.owner.url)
  expect((await login(other, '203.0.113.1')).status).toBe(200)
})

test('refused sign-ins write nothing and ask the database nothing', async () => {
  const { email } = await makeUser(attacked.owner.url)
  const from = '203.0.113.200'
  for (let i = 0; i < 11; i++) await login(email, from, wrong)
  // `xmin` shows a row that was written and has its old content again.
  const counted = () =>
    attacked.sql`select xmin::text as written_by, * from token_ledger.rate_limit order by key`
  const before = await counted()
  await using _locked = await lockedTables()
  const answers = await Promise.all(Array.from({ length: 200 }, () => login(email, from, wrong)))
  expect(new Set(answers.map(({ reason }) => reason))).toEqual(new Set(['too_many_attempts']))
  expect(await counted()).toEqual(before)

  /** A query for a user would wait for this lock, and the test would time out. */
  async function lockedTables(): Promise<AsyncDisposable> {
    const connection = await attacked.sql.reserve()
    await connection`begin`
    await connection`lock table token_ledger.user_account, token_ledger.user_epoch in access exclusive mode`
    return {
      async [Symbol.asyncDispose]() {
        await connection`rollback`
        connection.release()
      },
    }
  }
})

test('a sign-in that is answered 503 because too many passwords wait is no wrong guess', async () => {
  // Five from each of 40 networks, so that no limit but the queue refuses them.
  const flood = await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      login(`flood-${i}@example.com`, `192.0.2.${i % 40}`, wrong),
    ),
  )
  const checked = flood.filter(({ status }) => status === 401).length
  expect(flood.filter(({ status }) => status === 503).length).toBe(200 - checked)
  expect(checked).toBeLessThan(200)
  const [row] = await attacked.sql<{ points: number }[]>`
    select sum(points)::int as points
    from token_ledger.rate_limit
    where key like 'password-network:192.0.2.%'`
  expect(row?.points).toBe(checked)
})

test('while the queue of passwords is full of one network, a sign-in from another is answered', async () => {
  const { email } = await makeUser(attacked.owner.url)
  const crowd = await Promise.all(Array.from({ length: 19 }, () => makeUser(attacked.owner.url)))
  // Right passwords: a network rests after a wrong one, and would not fill the queue if that came early.
  const flood = Array.from({ length: 95 }, (_, i) => login(crowd[i % 19]!.email, '192.0.2.200'))
  const answers = [1, 2, 3].map((i) => login(email, `198.51.100.${i}`))
  expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200, 200])
  const statuses = (await Promise.all(flood)).map(({ status }) => status)
  expect(statuses.filter((status) => status === 503).length).toBeGreaterThan(0)
})

test('all sessions of a user together refresh 300 times a minute; beyond that they get 429 and go on later', async () => {
  const user = await makeUser(attacked.owner.url)
  const sessions: { token: string }[] = []
  for (let i = 0; i < 25; i++) {
    const { data } = await auth(
      attacked.url,
      'login',
      { email: user.email, password: testPassword, transport: 'body' },
      { 'x-forwarded-for': '198.51.100.60' },
    )
    sessions.push({ token: data.refreshToken })
  }
  let granted = 0
  let refused = 0
  let retryAfter = 0
  for (let round = 0; round < 14; round++)
    await Promise.all(
      sessions.map(async (session) => {
        const answer = await auth(attacked.url, 'refresh', { refreshToken: session.token })
        if (answer.status === 200) {
          granted += 1
          session.token = answer.data.refreshToken
        } else {
          expect(answer.reason).toBe('too_many_attempts')
          retryAfter = Number(answer.headers.get('retry-after'))
          refused += 1
        }
      }),
    )
  // 350 in all. Each session is answered once more before it is refused; a minute may end meanwhile.
  expect(granted).toBeGreaterThanOrEqual(300)
  expect(granted).toBeLessThanOrEqual(325)
  expect(refused).toBeGreaterThan(0)
  expect([retryAfter > 0, retryAfter <= 60]).toEqual([true, true])
  const [row] = await attacked.sql<{ active: number }[]>`
    select count(*)::int as active from token_audit.sessions where user_id = ${user.id} and status = 'active'`
  expect(row?.active).toBe(25)
  // Other users are not affected.
  const { refreshToken } = await signIn(attacked)
  expect((await auth(attacked.url, 'refresh', { refreshToken })).status).toBe(200)
})
