import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ServiceDeps } from '../../procedures/deps.ts'
import { hasEnded } from '../../procedures/has-ended.ts'
import type { EndedSessions } from '../../sessions/ended-sessions.ts'
import { AuthError } from '../../errors.ts'
import { hasSharedToken } from '../shared-token.ts'
import { bearerChallenge, invalidTokenChallenge } from '../../verifier/failure.ts'
import { endedRetentionMs, type Ended } from '../../verifier/revocations/ended-set.ts'
import { parseSessionId } from '../../verifier/revocations/session-id.ts'

/** Enough for each process of each following service. */
const maxStreams = 200

/** Ends written at once; the next page waits until a slow reader has taken this one. */
const pageSize = 500

/**
 * `GET /revocations`: the ends of sessions as server-sent events, for services that accept this service's
 * access tokens, and `GET /revocations/<sid>`: whether one session has ended. The routes exist only if
 * `REVOCATIONS_TOKEN` is set.
 *
 * The first messages are all ends of the last 16 minutes. Followers keep a set, so a repeated end does no
 * harm. An event id is a position in the list of one process, in the order in which that process learned
 * of the ends: a client that reconnects with it gets every later one. An id of another process is ignored,
 * and all ends are sent.
 */
export function mountRevocations(
  app: FastifyInstance,
  deps: Pick<ServiceDeps, 'config' | 'database' | 'endedSessions'>,
): void {
  const { config, endedSessions } = deps
  const { revocationsToken } = config
  if (revocationsToken === undefined) return
  const feedId = randomUUID()
  let streams = 0

  // Without HEAD, which would be answered only when the stream ends.
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
        // A closing server waits for keep-alive connections.
        connection: 'close',
      })
      .send(stream)
  })

  app.get<{ Params: { sid: string } }>('/revocations/:sid', async (request, reply) => {
    if (!hasSharedToken(request, revocationsToken)) throw refusal(request, reply)
    const { sid } = request.params
    if (parseSessionId(sid) === null) throw new AuthError('validation_failed', 'not a UUID')
    return { sid, ended: await hasEnded(deps, sid) }
  })
}

/**
 * A `checked` event, sent every second, says that every end up to `lagMs` ago has been sent. It is `incomplete` while
 * more sessions have ended than this process can hold: a follower then asks about each session at
 * `/revocations/<sid>`. While this process is behind, the stream continues without either.
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
    const event = ended.isComplete() ? 'checked' : 'incomplete'
    yield ended.isCurrent() ? `event: ${event}\ndata: {"lagMs":${lagMs}}\n\n` : ': behind\n\n'
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

/** The position of an id of this process; 0, the beginning, for any other id. */
function positionIn(feedId: string, id: unknown): number {
  const prefix = `${feedId}:`
  if (typeof id !== 'string' || !id.startsWith(prefix)) return 0
  const position = id.slice(prefix.length)
  return /^\d{1,15}$/.test(position) ? Number(position) : 0
}

function refusal(request: FastifyRequest, reply: FastifyReply): AuthError {
  const isMissing = request.headers.authorization === undefined
  void reply.header('www-authenticate', isMissing ? bearerChallenge : invalidTokenChallenge())
  const reason = isMissing ? 'access_token_missing' : 'access_token_invalid'
  return new AuthError(reason, 'not REVOCATIONS_TOKEN')
}
