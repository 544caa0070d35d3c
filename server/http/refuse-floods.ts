import type { FastifyInstance, FastifyReply } from 'fastify'
import { AuthError } from '../errors.ts'
import type { Floods } from '../limits/floods.ts'
import { isNearby, parseAddress } from './address.ts'
import { envelopeOf } from './error-replies.ts'

/** The statuses of what is refused because of who calls, or how often. */
const refused: ReadonlySet<number> = new Set([401, 403, 429])

const retryAfterSeconds = 1

/**
 * Answers most requests of a network that floods with 429 before they are parsed, decided and logged. Others behind the
 * same address get through after some attempts, and a spent refresh token among them is found.
 */
export function refuseFloods(app: FastifyInstance, floods: Floods): void {
  const detail = 'many requests of this network were refused in this second'
  const error = new AuthError('too_many_attempts', detail, { retryAfterSeconds })
  const body = JSON.stringify(envelopeOf(error))
  const unread = new WeakSet<FastifyReply>()
  app.addHook('onRequest', (request, reply, done) => {
    const ip = floods.isAny() ? parseAddress(request.ip) : null
    if (ip === null || !floods.refusesUnread(ip)) return done()
    unread.add(reply)
    void reply
      .code(429)
      .header('retry-after', retryAfterSeconds)
      .header('content-type', 'application/json; charset=utf-8')
      .send(body)
  })
  app.addHook('onResponse', (request, reply, done) => {
    const isCounted = refused.has(reply.statusCode) && !unread.has(reply)
    // A nearby address is that of a proxy which the service does not know, and so of many callers.
    if (isCounted && !isNearby(request.ip)) {
      const ip = parseAddress(request.ip)
      if (ip !== null) floods.countRefusal(ip)
    }
    done()
  })
}
