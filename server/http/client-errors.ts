import type { Socket } from 'node:net'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { AuthError, type Reason } from '../errors.ts'
import { envelopeOf, sendError } from './error-replies.ts'
import { hardeningHeaders } from './hardening.ts'

type ParserError = Error & { readonly code?: string }

const answers: Record<string, { status: string; reason: Reason }> = {
  HPE_HEADER_OVERFLOW: {
    status: '431 Request Header Fields Too Large',
    reason: 'payload_too_large',
  },
  ERR_HTTP_REQUEST_TIMEOUT: { status: '408 Request Timeout', reason: 'validation_failed' },
}

/**
 * Answers a URL that the router cannot parse. Fastify's own message would echo the URL. Hooks do not run
 * for such a request, so the headers are set here.
 */
export function frameworkErrors(
  error: FastifyError,
  _request: FastifyRequest,
  reply: FastifyReply,
): void {
  const reason = error.code === 'FST_ERR_MAX_PARAM_LENGTH' ? 'not_found' : 'validation_failed'
  void sendError(reply.headers(hardeningHeaders), new AuthError(reason, error.code))
}

/** How long what a client still sends is read after such an answer. */
const lingerMs = 1_000
const answered = new WeakSet<Socket>()

/**
 * Answers bytes that are not an HTTP request, or a request that never completed, and closes the connection.
 *
 * The parser reports each further chunk as an error as well. It is dropped until the client closes: if the service
 * closed while a client still sends, the connection would be reset, and the client could lose the answer.
 *
 * @see RFC 9112 §9.6
 */
export function clientErrorHandler(error: ParserError, socket: Socket): void {
  if (answered.has(socket)) return
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const answer = answers[error.code ?? ''] ?? {
    status: '400 Bad Request',
    reason: 'validation_failed',
  }
  const body = JSON.stringify(envelopeOf(new AuthError(answer.reason, error.code ?? 'unreadable')))
  answered.add(socket)
  const timer = setTimeout(() => socket.destroy(), lingerMs)
  socket.once('close', () => clearTimeout(timer))
  socket.end(
    [
      `HTTP/1.1 ${answer.status}`,
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
      ...Object.entries(hardeningHeaders).map(([name, value]) => `${name}: ${value}`),
      'connection: close',
      '',
      body,
    ].join('\r\n'),
  )
}
