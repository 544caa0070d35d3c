import type { FastifyRequest } from 'fastify'
import type { Caller } from '../../db/ledger/event-rows.ts'
import { isNearby, parseAddress } from './address.ts'

/** Longer user agents are cut: people read them, nothing parses them. */
const maxUserAgentLength = 512

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
