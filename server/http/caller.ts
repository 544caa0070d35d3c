import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import type { Caller } from '../../db/ledger/event-rows.ts'

/** Longer user agents are cut: people read them, nothing parses them. */
const maxUserAgentLength = 512

/** IP address and user agent of a request, as the ledger stores them. */
export function callerOf(request: FastifyRequest): Caller {
  const userAgent = request.headers['user-agent']
  // Without the zone (RFC 4007 §11): it names a local interface, and Postgres does not accept it.
  const [ip = ''] = request.ip.split('%')
  return {
    ip: isIP(ip) ? ip.replace(/^::ffff:(?=\d+\.)/i, '') : null,
    userAgent: userAgent === undefined ? null : cut(userAgent),
  }
}

/** Header values are Latin-1, so this cannot split a surrogate pair. */
function cut(userAgent: string): string {
  return userAgent.slice(0, maxUserAgentLength)
}
