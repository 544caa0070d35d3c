import { expect, test } from 'vitest'
import { startApp } from '../support/app.ts'
import { signIn } from '../support/sessions.ts'
import { startServer } from '../support/server.ts'

const limited = { RATE_LIMITS: 'on' }

/** Ten calls of `me` in one request. */
async function tenCalls(url: string, accessToken: string) {
  const path = Array.from({ length: 10 }, () => 'me').join()
  const response = await fetch(`${url}/trpc/${path}?batch=1`, {
    headers: { authorization: `Bearer ${accessToken}` },
  })
  const body = (await response.json()) as { error?: { data: { reason: string } } }[]
  return {
    status: response.status,
    retryAfter: Number(response.headers.get('retry-after')),
    reasons: new Set(body.map(({ error }) => error?.data.reason)),
  }
}

/** Until the first refusal. */
async function useUp(urls: readonly string[], accessToken: string) {
  for (let answered = 0; ; answered += 10) {
    const answer = await tenCalls(urls[(answered / 10) % urls.length]!, accessToken)
    if (answer.status !== 200 || answered > 1_000) return { answered, refused: answer }
  }
}

test('TR-03: a session makes 120 calls in ten seconds, and then all calls of a request get 429 with Retry-After', async () => {
  await using app = await startApp(limited)
  const mine = await signIn(app)
  const { answered, refused } = await useUp([app.url], mine.accessToken)
  // More when a window of ten seconds begins meanwhile.
  expect(answered).toBeGreaterThanOrEqual(120)
  expect(answered).toBeLessThanOrEqual(240)
  expect([refused.status, [...refused.reasons]]).toEqual([429, ['too_many_attempts']])
  expect([refused.retryAfter > 0, refused.retryAfter <= 10]).toEqual([true, true])

  // Other sessions of the user go on, and so do other users.
  const [again, other] = [await signIn(app, mine.email), await signIn(app)]
  expect((await tenCalls(app.url, again.accessToken)).status).toBe(200)
  expect((await tenCalls(app.url, other.accessToken)).status).toBe(200)
})

test('TR-03: a user with many sessions makes 240 calls in ten seconds', async () => {
  await using app = await startApp(limited)
  const { email, accessToken } = await signIn(app)
  const tokens = [accessToken]
  for (let i = 0; i < 7; i++) tokens.push((await signIn(app, email)).accessToken)
  let answered = 0
  for (let i = 0; i < 100; i++) {
    if ((await tenCalls(app.url, tokens[i % tokens.length]!)).status === 200) answered += 10
    else break
  }
  expect(answered).toBeGreaterThanOrEqual(240)
  expect(answered).toBeLessThanOrEqual(480)
})

test('TR-03: a second process adds 60 calls that it does not count in the database, and refuses from then on', async () => {
  await using app = await startApp(limited)
  await using other = await startServer(app.owner.url, { ...limited, PUBLIC_URL: app.url })
  const mine = await signIn(app)
  const { answered } = await useUp([app.url, other.url], mine.accessToken)
  expect(answered).toBeGreaterThanOrEqual(170)
  expect(answered).toBeLessThanOrEqual(360)
})

test('TR-03: refused calls write nothing, and calls below the half of the bound ask the database nothing', async () => {
  await using app = await startApp(limited)
  const counts = () => app.owner.ownerSql`
    select key, points from token_ledger.rate_limit where key like 'calls-%' order by key`
  const mine = await signIn(app)
  for (let i = 0; i < 5; i++) await tenCalls(app.url, mine.accessToken)
  expect(await counts()).toHaveLength(0)
  await useUp([app.url], mine.accessToken)
  const before = await counts()
  expect(before.length).toBeGreaterThan(0)
  const more = await Promise.all(
    Array.from({ length: 20 }, () => tenCalls(app.url, mine.accessToken)),
  )
  const refused = more.filter(({ status }) => status === 429)
  expect(refused.length).toBeGreaterThan(0)
  // All were refused within the window: the counts are as before.
  if (refused.length === more.length) expect(await counts()).toEqual(before)
})

test('TR-03: six tabs that open at once, with twenty calls each, are answered', async () => {
  await using app = await startApp(limited)
  const { accessToken } = await signIn(app)
  const answers = await Promise.all(
    Array.from({ length: 12 }, () => tenCalls(app.url, accessToken)),
  )
  expect(answers.map(({ status }) => status)).toEqual(Array(12).fill(200))
})
