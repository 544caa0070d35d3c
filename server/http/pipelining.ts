import type { ServerResponse } from 'node:http'
import type { onRequestHookHandler } from 'fastify'

/** A connection that sends more requests than these ahead of their answers is closed: each of them takes memory. */
const maxWaiting = 100

type Connection = {
  /** The answer to its newest request. */
  newest: ServerResponse
  waiting: number
}

const connections = new WeakMap<object, Connection>()

/**
 * Carries out the requests of one connection one after the other, which RFC 9112 §9.3.2 asks for unless all of them are
 * safe. Requests of other connections come in between: Node starts all that one packet holds at once, so a client that
 * sends hundreds without waiting for the answers would stop the event loop for all others.
 */
export const oneAtATimePerConnection: onRequestHookHandler = ({ raw }, reply, done) => {
  const { socket } = raw
  // The streams of one HTTP/2 connection are independent.
  if (raw.httpVersionMajor > 1) return done()
  const connection = connections.get(socket)
  if (connection === undefined) {
    connections.set(socket, { newest: reply.raw, waiting: 0 })
    return done()
  }
  const before = connection.newest
  connection.newest = reply.raw
  if (before.writableFinished) return done()
  if (connection.waiting >= maxWaiting) return void socket.destroy()
  connection.waiting += 1
  before.once('close', () => {
    connection.waiting -= 1
    setImmediate(done)
  })
}
