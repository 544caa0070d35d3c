import type { FastifyRequest } from 'fastify'
import { expect, test } from 'vitest'
import { callerOf } from '../../server/http/caller.ts'
import { startApp } from '../support/app.ts'
import { auth } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'

test.each([
  ['an IPv4 address', '192.0.2.7', '192.0.2.7'],
  ['an IPv4 address with a port', '192.0.2.7:4711', '192.0.2.7'],
  ['an IPv4 address in quotes', '"192.0.2.7:4711"', '192.0.2.7'],
  ['an IPv4 address mapped to IPv6', '::ffff:192.0.2.7', '192.0.2.7'],
  ['one in hexadecimal', '::FFFF:c000:207', '192.0.2.7'],
  ['one without abbreviation', '0:0:0:0:0:ffff:c000:0207', '192.0.2.7'],
  ['one in brackets with a port', '[::ffff:192.0.2.7]:4711', '192.0.2.7'],
  ['an IPv6 address in brackets', '[2001:db8::1]', '2001:db8::1'],
  ['an IPv6 address in brackets with a port', '[2001:db8::1]:4711', '2001:db8::1'],
  ['an IPv6 address in brackets with a zone and a port', '[fe80::1%25eth0]:4711', 'fe80::1'],
  ['an IPv6 address in another spelling', '2001:0DB8:0:0::0:1', '2001:db8::1'],
  ['an IPv6 address like a mapped one', '::fffe:192.0.2.7', '::fffe:c000:207'],
  ['an IPv6 address', '2001:db8::1', '2001:db8::1'],
  ['an IPv6 address with a zone', 'fe80::1%eth0', 'fe80::1'],
  ['a word', 'unknown', null],
  ['an obfuscated name (RFC 7239)', '_hidden', null],
  ['an empty text', '', null],
  ['only brackets', '[]:80', null],
  ['an address out of range', '999.0.2.7:80', null],
  ['two addresses', '192.0.2.7, 192.0.2.8', null],
  ['a port that is no number', '192.0.2.7:http', null],
])('%s is kept in the form that Postgres accepts, or dropped', (_what, ip, kept) => {
  expect(callerOf({ ip, headers: {} } as FastifyRequest).caller.ip).toBe(kept)
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

test.each([
  ['203.0.113.66:50123', '203.0.113.66'],
  ['[2001:db8::1]:50123', '2001:db8::1'],
  ['198.51.100.11:50123, 127.0.0.1:8080', '198.51.100.11'],
])('a proxy that writes the address with a port, %s, gives the address', async (sent, ip) => {
  await using app = await startApp({ RATE_LIMITS: 'on', TRUSTED_PROXIES: '127.0.0.0/8' })
  const { email } = await makeUser(app.owner.url)
  const login = (password: string, from: string) =>
    auth(app.url, 'login', { email, password }, { 'x-forwarded-for': from })
  const { data } = await login(testPassword, sent)
  const [issued] = await app.owner.ownerSql`
    select host(ip) as ip from token_audit.events where family_id = ${data.familyId}`
  expect(issued!.ip).toBe(ip)
  // Each guess from another port; all of them count for one address, and for no other.
  for (let port = 1; port <= 10; port++)
    await login('not the password at all', sent.replace('50123', String(40_000 + port)))
  expect((await login(testPassword, sent)).reason).toBe('too_many_attempts')
  expect((await login(testPassword, '192.0.2.99:1234')).status).toBe(200)
})
