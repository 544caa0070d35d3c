import { expect, test } from 'vitest'
import { createVerifier } from '../../server/verifier/index.ts'
import { startApp } from '../support/app.ts'
import { claimsOf, openForge } from '../support/forge.ts'
import { query } from '../support/http.ts'
import { kindsOf, signIn } from '../support/sessions.ts'

const orders = 'https://orders.example.com'
const env = { ACCESS_TOKEN_AUDIENCES: orders }

test('AT-17: an exchange gives the same session, user and sign-in to the other audience, and rotates nothing', async () => {
  await using app = await startApp(env)
  const session = await signIn(app)
  const answer = await query(app.url, 'tokens.exchange', session.accessToken, { audience: orders })
  expect(answer.status).toBe(200)
  expect(answer.headers.get('cache-control')).toBe('no-store')
  const { accessToken, expiresIn, ...rest } = answer.data
  expect(rest).toEqual({ tokenType: 'Bearer', audience: orders })

  const [own, other] = [claimsOf(session.accessToken), claimsOf(accessToken)]
  expect(other).toEqual({ ...own, aud: orders, jti: other.jti, iat: other.iat })
  expect(other.jti).not.toBe(own.jti)
  expect(expiresIn).toBe(other.exp! - other.iat!)
  expect(await kindsOf(app, session.familyId)).toEqual(['issued'])
})

test('AT-17: a token that is older expires as soon, exchanged', async () => {
  await using app = await startApp(env)
  const { accessToken } = await signIn(app)
  const forge = await openForge(app.owner.url)
  const now = Math.floor(Date.now() / 1000)
  const older = forge.mint(accessToken, { claims: { iat: now - 600, exp: now + 300 } })
  const { data } = await query(app.url, 'tokens.exchange', older, { audience: orders })
  expect(claimsOf(data.accessToken).exp).toBe(now + 300)
  expect(data.expiresIn).toBeLessThanOrEqual(300)
})

test('AT-17: a token of a process whose clock is ahead is exchanged for one that a verifier accepts', async () => {
  await using app = await startApp(env)
  const { accessToken } = await signIn(app)
  const forge = await openForge(app.owner.url)
  const ahead = Math.floor(Date.now() / 1000) + 20
  const early = forge.mint(accessToken, { claims: { iat: ahead, exp: ahead + 900 } })
  const { data } = await query(app.url, 'tokens.exchange', early, { audience: orders })
  const verifier = createVerifier({ issuer: app.url, audience: orders })
  expect((await verifier.verify(data.accessToken)).expiresAt).toBe((ahead + 900) * 1000)
})

test('AT-17: the role and the address are those of the presented token, until the next refresh', async () => {
  await using app = await startApp(env)
  const { accessToken, userId } = await signIn(app)
  await app.owner.ownerSql`
    update token_ledger.user_account set role = 'admin' where user_id = ${userId}`
  const { data } = await query(app.url, 'tokens.exchange', accessToken, { audience: orders })
  expect(claimsOf(data.accessToken).role).toBe('user')
})

test('AT-17: a token with no second left is not exchanged, although the clocks may differ by 30', async () => {
  await using app = await startApp(env)
  const { accessToken } = await signIn(app)
  const forge = await openForge(app.owner.url)
  const now = Math.floor(Date.now() / 1000)
  const late = forge.mint(accessToken, { claims: { iat: now - 60, exp: now - 5 } })
  expect((await query(app.url, 'me', late)).status).toBe(200)
  const answer = await query(app.url, 'tokens.exchange', late, { audience: orders })
  expect([answer.status, answer.reason]).toEqual([401, 'access_token_expired'])
})

test('without ACCESS_TOKEN_AUDIENCES there is nothing to exchange for, and tokens are as they were', async () => {
  await using app = await startApp()
  const { accessToken } = await signIn(app)
  const { status, reason } = await query(app.url, 'tokens.exchange', accessToken, {
    audience: orders,
  })
  expect([status, reason]).toEqual([400, 'validation_failed'])
  const verifier = createVerifier({ issuer: app.url, audience: app.url })
  expect((await verifier.verify(accessToken)).email).toContain('@')
  expect((await query(app.url, 'me', accessToken)).status).toBe(200)
})
