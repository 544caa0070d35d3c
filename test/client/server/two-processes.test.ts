import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createAuthClient } from '../../../client/index.ts'
import { startChild, type Child } from '../../support/child.ts'
import { moveClock } from '../../support/clock.ts'
import { expectNoReuse } from '../../support/ledger-counts.ts'
import { noFault, startBehindProxy } from '../../support/proxy.ts'
import { kindsOf } from '../../support/sessions.ts'
import { makeUser, testPassword } from '../../support/users.ts'
import { waitFor } from '../../support/wait.ts'
import { openVisitor, type Visitor } from './visitor.ts'

const secret = 'a secret of the app, 32 characters or more'
const hourMs = 3600 * 1000

/** Two processes of a team's app, in front of one service whose access tokens live two seconds. */
let behind: Awaited<ReturnType<typeof startBehindProxy>>
let children: Child[]
const accessTokenSeconds = 2
let one: string
let other: string
/** Sessions whose access tokens have expired. A test takes one. */
const expiredSessions: SignedIn[] = []

type SignedIn = { readonly visitor: Visitor; readonly familyId: string }

beforeAll(async () => {
  behind = await startBehindProxy(
    {},
    { ACCESS_TOKEN_SECONDS: String(accessTokenSeconds), TRUSTED_PROXIES: '127.0.0.0/8' },
  )
  children = [1, 2].map(() => startChild(new URL('app-process.ts', import.meta.url)))
  const options = { baseUrl: behind.proxy.url, secret }
  const urls = await Promise.all(children.map((child) => child.call('start', options)))
  ;[one, other] = urls as [string, string]
  expiredSessions.push(...(await Promise.all(Array.from({ length: 6 }, signIn))))
  const expiredAt = Date.now() + accessTokenSeconds * 1000
  await waitFor(() => Date.now() > expiredAt)
})
afterAll(async () => {
  await Promise.all(children.map((child) => child.stop()))
  await behind[Symbol.asyncDispose]()
})
beforeEach(() => {
  behind.proxy.chooseFault = () => noFault
})

test('ten requests at once after expiry, to two processes: ten answers, one attempt, no reuse', async () => {
  const { visitor, familyId } = takeExpired()
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, i) => visitor.page(i % 2 === 0 ? one : other)),
  )
  for (const { body, headers, setCookies } of answers) {
    expect(body).toMatchObject({ status: 'signed-in', familyId })
    expect(headers.get('cache-control')).toBe('private, no-store')
    expect(setCookies).toEqual([
      expect.stringMatching(
        /^__Host-session=v1\.[\w-]+; Path=\/; HttpOnly; SameSite=Lax; Secure; Max-Age=\d+$/,
      ),
    ])
  }
  expect((await kindsOf(behind.app, familyId)).slice(0, 2)).toEqual(['issued', 'rotated'])
  const attempts = await behind.app.owner.ownerSql`
    select distinct attempt_hash from token_ledger.token_event
    where family_id = ${familyId} and kind <> 'issued'`
  expect(attempts).toHaveLength(1)
  // The browser keeps the cookie that arrives last, and each of them goes on.
  for (const answer of [answers[3]!, answers[8]!]) {
    visitor.keep(answer)
    expect((await visitor.page(one)).body).toMatchObject({ status: 'signed-in', familyId })
  }
  await expectNoReuse(behind.app)
})

test('where no cookie can be set, nothing is rotated, and an expired token is unknown', async () => {
  const { visitor, familyId } = takeExpired()
  const { body } = await visitor.component(other)
  expect(body).toMatchObject({ status: 'unknown', problem: null, user: null, accessToken: null })
  expect(await kindsOf(behind.app, familyId)).toEqual(['issued'])
})

test('the ledger has the address and the browser of the person, not of the app', async () => {
  const { visitor, familyId } = takeExpired()
  await visitor.page(other)
  const rows = await behind.app.owner.ownerSql`
    select distinct kind, host(ip) as ip, user_agent from token_audit.events where family_id = ${familyId}`
  const person = { ip: '198.51.100.9', user_agent: "Ada's browser" }
  expect(rows).toHaveLength(2)
  expect(rows).toEqual(
    expect.arrayContaining([
      { kind: 'issued', ...person },
      { kind: 'rotated', ...person },
    ]),
  )
})

test('the app answers pages of its own origin alone', async () => {
  const { visitor } = await signIn()
  const headers = { ...visitor.headers(), 'content-type': 'application/json' }
  const refresh = async (more: Record<string, string>) => {
    const init = { method: 'POST', headers: { ...headers, ...more }, body: '{}' }
    const response = await fetch(`${one}/auth/refresh`, init)
    return { status: response.status, cookies: response.headers.getSetCookie() }
  }
  const refused = { status: 403, cookies: [] }
  expect(await refresh({ 'sec-fetch-site': 'same-site', origin: one })).toEqual(refused)
  expect(await refresh({ origin: 'https://other.example.com' })).toEqual(refused)
  expect(await refresh({})).toEqual(refused)
  expect((await refresh({ origin: one })).status).toBe(200)
  expect((await refresh({ 'sec-fetch-site': 'same-origin' })).status).toBe(200)
  expect((await refresh({ origin: one, 'content-type': 'text/plain' })).status).toBe(415)
})

test('a lost answer, of the service or of the app, and the same browser an hour later: no reuse', async () => {
  const { visitor, familyId } = takeExpired()
  behind.proxy.chooseFault = () => ({ kind: 'drop-answer' })
  const lost = await visitor.page(one)
  expect(lost.body).toMatchObject({ status: 'unknown', problem: 'network_error', user: null })
  expect(lost.setCookies).toEqual([])
  behind.proxy.chooseFault = () => noFault

  const { ownerSql } = behind.app.owner
  await moveClock(ownerSql, 11_000)
  // This answer arrives at the app, and is lost on its way to the browser.
  expect((await visitor.page(one)).body).toMatchObject({ status: 'signed-in', familyId })
  await moveClock(ownerSql, hourMs)
  const found = await visitor.page(other)
  expect(found.body).toMatchObject({ status: 'signed-in', familyId })
  await moveClock(ownerSql, 0)
  const kinds = await kindsOf(behind.app, familyId)
  expect(kinds.slice(0, 2)).toEqual(['issued', 'rotated'])
  expect(new Set(kinds.slice(2))).toEqual(new Set(['replayed']))
  await expectNoReuse(behind.app)
})

test('one lost answer is asked for again at once, and the visitor does not notice', async () => {
  const { visitor } = takeExpired()
  let lost = 0
  behind.proxy.chooseFault = () => (lost++ === 0 ? { kind: 'drop-answer' } : noFault)
  expect((await visitor.page(one)).body.status).toBe('signed-in')
  await expectNoReuse(behind.app)
})

test('a session that was ended elsewhere is signed out and loses its cookie; so does a sign-out', async () => {
  const { visitor, familyId } = takeExpired()
  expect((await visitor.signOut(one)).body).toMatchObject({ isConfirmed: true, revoked: 1 })
  expect(await kindsOf(behind.app, familyId)).toEqual(['issued', 'revoked'])
  const answer = await visitor.page(other)
  expect(answer.body).toMatchObject({ status: 'signed-out', reason: 'session_revoked', user: null })
  expect(answer.setCookies).toEqual([expect.stringMatching(/^__Host-session=; .*Max-Age=0$/)])

  const again = await signIn()
  behind.proxy.chooseFault = () => ({ kind: 'drop-request' })
  const unheard = await again.visitor.signOut(one)
  expect(unheard.body).toMatchObject({ isConfirmed: false })
  expect(unheard.setCookies).toEqual(answer.setCookies)
})

test('the client in a page of the app signs in, refreshes and signs out by way of the app', async () => {
  const { email } = await makeUser(behind.app.owner.url)
  const visitor = openVisitor()
  const options = { baseUrl: one, transport: 'cookie', adoptForeignSession: true } as const
  const auth = createAuthClient({ ...options, fetch: visitor.fetch })
  await expect(auth.login({ email, password: 'wrong' })).rejects.toMatchObject({
    reason: 'invalid_credentials',
  })
  const { familyId, user } = await auth.login({ email, password: testPassword })
  expect((await visitor.page(other)).body).toMatchObject({ status: 'signed-in', familyId, user })
  // The page's timer and the app's pages rotate one session.
  await waitFor(async () => {
    const rendered = await visitor.page(other)
    visitor.keep(rendered)
    return (await kindsOf(behind.app, familyId)).filter((kind) => kind === 'rotated').length >= 1
  })
  await auth.refresh()
  expect(auth.session).toMatchObject({ status: 'signed-in', familyId })

  behind.proxy.chooseFault = () => ({ kind: 'drop-request' })
  expect(await auth.logout()).toEqual({ isConfirmed: false, revoked: 0 })
  behind.proxy.chooseFault = () => noFault
  await waitFor(async () => (await kindsOf(behind.app, familyId)).at(-1) === 'revoked')
  await expect.poll(() => visitor.cookie()).toBe('__Host-session=')
  auth.dispose()
  await expectNoReuse(behind.app)
})

async function signIn(): Promise<SignedIn> {
  const { email } = await makeUser(behind.app.owner.url)
  const visitor = openVisitor()
  const { body } = await visitor.signIn(one, email)
  if (body.status !== 'signed-in') throw new Error(body.status)
  return { visitor, familyId: body.familyId }
}

function takeExpired(): SignedIn {
  const taken = expiredSessions.pop()
  if (taken === undefined) throw new Error('sign in more of them')
  return taken
}
