import type { Socket } from 'node:net'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { AuthError, type Reason } from '../errors.ts'
import { envelopeOf, sendError } from './error-replies.ts'

type ParserError = Error & { readonly code?: string }

const answers: Record<string, { status: string; reason: Reason }> = {
  HPE_HEADER_OVERFLOW: {
    status: '431 Request Header Fields Too Large',
    reason: 'payload_too_large',
  },
  ERR_HTTP_REQUEST_TIMEOUT: { status: '408 Request Timeout', reason: 'validation_failed' },
}

/** What every answer says, for those that no hook of ours sees. */
const bareHeaders = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none';frame-ancestors 'none'",
}

/** Answers a URL that the router cannot read; Fastify's own words would repeat it. */
export function frameworkErrors(
  error: FastifyError,
  _request: FastifyRequest,
  reply: FastifyReply,
): void {
  const reason = error.code === 'FST_ERR_MAX_PARAM_LENGTH' ? 'not_found' : 'validation_failed'
  void sendError(reply.headers(bareHeaders), new AuthError(reason, error.code))
}

/** Answers what is no HTTP request, or one that never came to its end, and hangs up. */
export function clientErrorHandler(error: ParserError, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const answer = answers[error.code ?? ''] ?? {
    status: '400 Bad Request',
    reason: 'validation_failed',
  }
  const body = JSON.stringify(envelopeOf(new AuthError(answer.reason, error.code ?? 'unreadable')))
  socket.end(
    [
      `HTTP/1.1 ${answer.status}`,
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
      ...Object.entries(bareHeaders).map(([name, value]) => `${name}: ${value}`),
      'connection: close',
      '',
      body,
    ].join('\r\n'),
  )
}
