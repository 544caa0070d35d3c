import type { FastifyRequest } from 'fastify'
import type { Caller } from '../../db/ledger/event-rows.ts'
import { isIn, parseAddress } from './address.ts'

/** Longer user agents are cut: people read them, nothing parses them. */
const maxUserAgentLength = 512

/** Loopback, private (RFC 1918, 4193) and shared (RFC 6598) addresses: where a proxy of one's own is. */
const isNearby = isIn([
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '::1/128',
  'fc00::/7',
])

/** Who calls: IP address and user agent, as the ledger stores them, and whether the address is the caller's own. */
export function callerOf(request: FastifyRequest): { caller: Caller; isAddressShared: boolean } {
  const userAgent = request.headers['user-agent']
  return {
    caller: {
      ip: parseAddress(request.ip),
      userAgent: userAgent === undefined ? null : cut(userAgent),
    },
    isAddressShared: comesByUnnamedProxy(request) && isNearby(request.ip),
  }
}

/** The app trusts no proxy, but one has forwarded the request; or the caller pretends so. */
function comesByUnnamedProxy({ headers, ips }: FastifyRequest): boolean {
  return headers['x-forwarded-for'] !== undefined && ips === undefined
}

/** Header values are Latin-1, so this cannot split a surrogate pair. */
function cut(userAgent: string): string {
  return userAgent.slice(0, maxUserAgentLength)
}
