import { expect, test } from 'vitest'
import { isElsewhere, mayBeSameClient, networkOf } from '../../server/ledger/caller.ts'

test.each([
  ['192.0.2.7', '192.0.2.0/24'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['2001:db8:0:0:ffff::1', '2001:db8:0:0::/64'],
  ['2001:0DB8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::', 'fe80:0:0:0::/64'],
  ['64:ff9b::192.0.2.7', '64:ff9b:0:0::/64'],
  ['1::2:3:4:5:192.0.2.7', '1:0:2:3::/64'],
])('the network of %s is %s', (ip, network) => {
  expect(networkOf(ip)).toBe(network)
})

const caller = { ip: '192.0.2.7', userAgent: 'browser' }
const stranger = { ip: '198.51.100.9', userAgent: 'other' }

test('two requests may be of one client when they share the network or the user agent', () => {
  expect(mayBeSameClient(caller, { ...stranger, ip: '192.0.2.99' })).toBe(true)
  expect(mayBeSameClient(caller, { ...stranger, userAgent: 'browser' })).toBe(true)
  expect(mayBeSameClient(caller, stranger)).toBe(false)
})

test('an address that the service cannot see equals no address that it sees, and neither does a missing user agent', () => {
  expect(mayBeSameClient(caller, { ip: null, userAgent: null })).toBe(false)
  expect(mayBeSameClient(caller, { ip: null, userAgent: 'browser' })).toBe(true)
  expect(mayBeSameClient({ ...caller, ip: null }, { ...stranger, ip: null })).toBe(true)
  const silent = { ...caller, userAgent: null }
  expect(mayBeSameClient(silent, { ...stranger, userAgent: null })).toBe(true)
})

test('a request is elsewhere only if both addresses are known', () => {
  expect(isElsewhere(caller, stranger)).toBe(true)
  expect(isElsewhere(caller, { ...stranger, ip: '192.0.2.99' })).toBe(false)
  expect(isElsewhere(caller, { ...stranger, ip: null })).toBe(false)
  expect(isElsewhere({ ...caller, ip: null }, stranger)).toBe(false)
})
