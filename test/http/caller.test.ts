import type { FastifyRequest } from 'fastify'
import { expect, test } from 'vitest'
import { callerOf } from '../../server/http/caller.ts'
import { startApp } from '../support/app.ts'
import { auth } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'

test.each([
  ['an IPv4 address', '192.0.2.7', '192.0.2.7'],
  ['an IPv4 address mapped to IPv6', '::ffff:192.0.2.7', '192.0.2.7'],
  ['an IPv6 address', '2001:db8::1', '2001:db8::1'],
  ['an IPv6 address with a zone', 'fe80::1%eth0', 'fe80::1'],
  ['a word', 'unknown', null],
  ['an empty text', '', null],
])('%s is kept in the form that Postgres accepts, or dropped', (_what, ip, kept) => {
  expect(callerOf({ ip, headers: {} } as FastifyRequest).ip).toBe(kept)
})

test('HT-09 (ASVS 16.5.1): a client whose address has an IPv6 zone signs in, refreshes and signs out', async () => {
  await using app = await startApp({ TRUSTED_PROXIES: '127.0.0.1/32' })
  let { refreshToken, familyId } = await signIn(app)
  const headers = { 'x-forwarded-for': 'fe80::1%eth0' }
  const refreshed = await auth(app.url, 'refresh', { refreshToken }, headers)
  expect(refreshed.status).toBe(200)
  refreshToken = refreshed.data.refreshToken
  expect((await auth(app.url, 'logout', { refreshToken }, headers)).data.revoked).toBe(1)
  const kept = await app.owner.ownerSql`
    select host(ip) as ip from token_audit.events where family_id = ${familyId} order by seq`
  expect(kept.map(({ ip }) => ip)).toEqual(['127.0.0.1', 'fe80::1', 'fe80::1'])
})
