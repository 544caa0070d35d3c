import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ServiceDeps } from '../../procedures/deps.ts'
import type { EndedSessions } from '../../sessions/ended-sessions.ts'
import { AuthError } from '../../errors.ts'
import { hasSharedToken } from '../shared-token.ts'
import { bearerChallenge, invalidTokenChallenge } from '../../verifier/failure.ts'
import { endedRetentionMs, type Ended } from '../../verifier/revocations/ended-set.ts'

/** One for each process of each service that follows, and some. */
const maxStreams = 200

/** Ends written at once; a reader that is slow is not read ahead of. */
const pageSize = 500

/**
 * `GET /revocations`: the ends of sessions as server-sent events, for services that accept our access
 * tokens. Without `REVOCATIONS_TOKEN` there is no such page.
 *
 * The first messages are all ends of the last 16 minutes: it is a set, and told twice does no harm. An id
 * names a place in the memory of one process, which learns of ends in one order, whenever they happened:
 * after it comes all that this process has learned since. To any other process it says nothing, and that
 * one tells all.
 */
export function mountRevocations(
  app: FastifyInstance,
  { config, endedSessions }: Pick<ServiceDeps, 'config' | 'endedSessions'>,
): void {
  const { revocationsToken } = config
  if (revocationsToken === undefined) return
  const feedId = randomUUID()
  let streams = 0

  // Without HEAD, which would be answered when the stream ends.
  app.get('/revocations', { exposeHeadRoute: false }, (request, reply) => {
    if (!hasSharedToken(request, revocationsToken)) throw refusal(request, reply)
    if (streams >= maxStreams)
      throw new AuthError('too_many_attempts', 'too many streams', { retryAfterSeconds: 5 })
    streams += 1
    const after = positionIn(feedId, lastIdOf(request))
    const stream = Readable.from(messages(endedSessions, { feedId, after }))
    stream.once('close', () => (streams -= 1))
    return reply
      .headers({
        'content-type': 'text/event-stream',
        'x-accel-buffering': 'no',
        // A service that stops waits for connections that may be asked again.
        connection: 'close',
      })
      .send(stream)
  })
}

/**
 * `checked` says that all that ended until `lagMs` ago has been told; it comes every second. While this
 * process cannot say so the stream goes on without it.
 */
async function* messages(
  ended: EndedSessions,
  { feedId, after }: { feedId: string; after: number },
): AsyncGenerator<string, void> {
  let position = after
  yield 'retry: 1000\n\n'
  do {
    for (;;) {
      const page = ended.after(position, pageSize)
      if (page.ended.length === 0) break
      const first = page.position - page.ended.length + 1
      yield page.ended.map((one, i) => endedMessage(one, `${feedId}:${first + i}`)).join('')
      position = page.position
    }
    const lagMs = Math.ceil(ended.lagMs())
    yield ended.isCurrent() ? `event: checked\ndata: {"lagMs":${lagMs}}\n\n` : ': behind\n\n'
  } while (await ended.nextChange())
}

function endedMessage({ familyId, endedAt }: Ended, id: string): string {
  const data = {
    sid: familyId,
    endedAt: new Date(endedAt).toISOString(),
    expiresAt: new Date(endedAt + endedRetentionMs).toISOString(),
  }
  return `id: ${id}\nevent: ended\ndata: ${JSON.stringify(data)}\n\n`
}

function lastIdOf({ headers, query }: FastifyRequest): unknown {
  return headers['last-event-id'] ?? (query as { after?: unknown }).after
}

/** The place an id of this process names; 0, which is before everything, for any other. */
function positionIn(feedId: string, id: unknown): number {
  const prefix = `${feedId}:`
  if (typeof id !== 'string' || !id.startsWith(prefix)) return 0
  const place = id.slice(prefix.length)
  return /^\d{1,15}$/.test(place) ? Number(place) : 0
}

function refusal(request: FastifyRequest, reply: FastifyReply): AuthError {
  const isMissing = request.headers.authorization === undefined
  void reply.header('www-authenticate', isMissing ? bearerChallenge : invalidTokenChallenge())
  const reason = isMissing ? 'access_token_missing' : 'access_token_invalid'
  return new AuthError(reason, 'not REVOCATIONS_TOKEN')
}
