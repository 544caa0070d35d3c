import { expect, test } from 'vitest'
import { serverSession } from '../../../client/server/index.ts'

const url = 'https://app.example.com/auth/refresh'
const user = { id: '1', email: 'ada@example.com', role: 'user' }
const grant = {
  accessToken: 'an.access.token',
  tokenType: 'Bearer',
  expiresIn: 900,
  familyId: '0190b5d2-0000-7000-8000-000000000001',
  refreshExpiresAt: new Date(Date.now() + 3_600_000).toISOString(),
  user,
  refreshToken: 'tlr1.a.refresh.token',
}

/** A visitor who has just signed in, so that the access token lasts. */
async function signedIn() {
  const asked: string[] = []
  const answers: Record<string, () => Response> = {
    '/auth/login': () => Response.json({ result: { data: grant } }),
    '/trpc/me': () => Response.json({ result: { data: { user } } }),
    '/auth/refresh': () => refusal('session_revoked', `${grant.familyId}:2`),
  }
  const session = serverSession({
    baseUrl: 'https://auth.example.com',
    cookie: { secret: 'o'.repeat(32) },
    async fetch(input: unknown) {
      const { pathname } = new URL(input as string)
      asked.push(pathname)
      return answers[pathname]!()
    },
  })
  const begun = await session.signIn(
    { headers: new Headers() },
    { email: user.email, password: 'correct horse battery staple' },
  )
  asked.length = 0
  const headers = {
    cookie: begun.cookieHeader,
    'content-type': 'application/json',
    'sec-fetch-site': 'same-origin',
  }
  const request = () => new Request(url, { method: 'POST', headers, body: '{}' })
  return { session, asked, answers, request }
}

test('a page that asks learns that its session was ended elsewhere, though the access token lasts', async () => {
  const { session, asked, answers, request } = await signedIn()
  expect((await session.handle(request())).status).toBe(200)
  expect(asked).toEqual(['/trpc/me'])
  answers['/trpc/me'] = () => refusal('access_token_revoked')
  const ended = await session.handle(request())
  expect(ended.status).toBe(401)
  expect(await ended.json()).toMatchObject({
    error: { data: { reason: 'session_revoked', incidentId: `${grant.familyId}:2` } },
  })
  expect(ended.headers.getSetCookie()).toEqual([expect.stringMatching(/=; .*Max-Age=0$/)])
})

test('without an answer of the service, a page that asks goes on with the access token that lasts', async () => {
  const { session, asked, answers, request } = await signedIn()
  answers['/trpc/me'] = () => new Response('a proxy', { status: 502 })
  const answer = await session.handle(request())
  expect(await answer.json()).toMatchObject({ result: { data: { user } } })
  answers['/trpc/me'] = () => refusal('service_unavailable')
  expect((await session.handle(request())).status).toBe(200)
  expect(asked).toEqual(['/trpc/me', '/trpc/me'])
})

test('what renders asks the service only where it says so', async () => {
  const { session, asked, answers, request } = await signedIn()
  answers['/trpc/me'] = () => refusal('access_token_revoked')
  expect((await session.from(request())).status).toBe('signed-in')
  expect(asked).toEqual([])
  const readOnly = { readOnly: true, check: true }
  expect(await session.from(request(), readOnly)).toMatchObject({
    status: 'unknown',
    problem: null,
  })
  expect(asked).toEqual(['/trpc/me'])
  expect(await session.from(request(), { check: true })).toMatchObject({
    status: 'signed-out',
    reason: 'session_revoked',
  })
})

function refusal(reason: string, incidentId?: string): Response {
  const httpStatus = reason === 'service_unavailable' ? 503 : 401
  const data = { reason, httpStatus, ...(incidentId !== undefined && { incidentId }) }
  return Response.json({ error: { message: reason, data } }, { status: httpStatus })
}
