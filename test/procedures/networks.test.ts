import { BlockList } from 'node:net'
import { expect, test } from 'vitest'
import { networksOf } from '../../server/limits/networks.ts'

test('an IPv6 address counts with its /64, its /56 and its /48, an IPv4 address alone', () => {
  expect(networksOf('2001:db8:0:1234::5')).toEqual([
    '2001:db8:0:1234::/64',
    '2001:db8:0:1200::/56',
    '2001:db8:0::/48',
  ])
  expect(networksOf('2001:db8:0:1:ffff:1:2:3')[0]).toBe('2001:db8:0:1::/64')
  expect(networksOf('2001:db8::5')[0]).toBe('2001:db8:0:0::/64')
  expect(networksOf('::1')[0]).toBe('0:0:0:0::/64')
  expect(networksOf('192.0.2.1')).toEqual(['192.0.2.1'])
  expect(networksOf(null)).toEqual([])
  // A firewall takes each of them as it is written.
  for (const network of networksOf('2001:db8::5')) {
    const [address = '', bits] = network.split('/')
    expect(() => new BlockList().addSubnet(address, Number(bits), 'ipv6')).not.toThrow()
  }
})
