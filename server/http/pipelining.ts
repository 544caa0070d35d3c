import type { ServerResponse } from 'node:http'
import type { onRequestHookHandler } from 'fastify'

/** The answer to the newest request of each connection. */
const newest = new WeakMap<object, ServerResponse>()

/**
 * Carries out the requests of one connection one after the other, which RFC 9112 §9.3.2 asks for unless all of them are
 * safe. Requests of other connections come in between: Node starts all that one packet holds at once, so a client that
 * sends hundreds without waiting for the answers would stop the event loop for all others.
 */
export const oneAtATimePerConnection: onRequestHookHandler = ({ raw }, reply, done) => {
  // The streams of one HTTP/2 connection are independent.
  if (raw.httpVersionMajor > 1) return done()
  const before = newest.get(raw.socket)
  newest.set(raw.socket, reply.raw)
  if (before === undefined || before.writableFinished) return done()
  before.once('close', () => setImmediate(done))
}
