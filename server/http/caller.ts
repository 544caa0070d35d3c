import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import type { Caller } from '../../db/ledger/event-rows.ts'

/** A user agent longer than this is cut: it is for people to read. */
const maxUserAgentLength = 512

/** Where a request came from, as the ledger keeps it. */
export function callerOf(request: FastifyRequest): Caller {
  const userAgent = request.headers['user-agent']
  // Without the zone (RFC 4007 §11), which is our interface's and no address to Postgres.
  const [ip = ''] = request.ip.split('%')
  return {
    ip: isIP(ip) ? ip.replace(/^::ffff:(?=\d+\.)/i, '') : null,
    userAgent: userAgent === undefined ? null : cut(userAgent),
  }
}

/** Header values are Latin-1, so no surrogate can be split here. */
function cut(userAgent: string): string {
  return userAgent.slice(0, maxUserAgentLength)
}
