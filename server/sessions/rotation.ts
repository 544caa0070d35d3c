import { setImmediate as nextTurn } from 'node:timers/promises'
import { inTransactionPer } from '../../db/connection/transaction.ts'
import { appendEvents, appendUnlessChanged } from '../../db/ledger/append.ts'
import { AuthError } from '../errors.ts'
import type { RefreshObserver } from '../observability/metrics.ts'
import type { AccessTokens } from '../tokens/access-token.ts'
import { lockForAct } from './act.ts'
import { createQueueFor, type CommitQueue } from './group-commit.ts'
import {
  decideOne,
  isClientWaiting,
  isReuse,
  keepsFamilyActive,
  needsLock,
  prepareCandidate,
  readSnapshot,
  type Granted,
  type Pending,
  type RefreshRequest,
} from './refresh-decision.ts'
import { abandoned, securityEventOf, type Refused } from './refresh-refused.ts'
import { replayEvents } from './replay-events.ts'
import { appendReuse, concernedByEnd, endedByReuse } from './reuse.ts'
import { logRevocations, newAppend } from './revocation.ts'
import type { LiveSession, SessionDeps } from './session.ts'

export type Rotate = (request: RefreshRequest) => Promise<LiveSession>

export type RotationOptions = {
  /** Signs the access tokens of a batch while the database writes it. Without it, none are signed ahead. */
  readonly accessTokens?: Pick<AccessTokens, 'signAhead'>
  readonly observer?: RefreshObserver
}

const noObserver: RefreshObserver = { waited: () => {}, answered: () => {} }

/**
 * @returns `rotate`, which resolves with the session and its newest token, and the queue it uses.
 * @throws {RefreshRefused} by `rotate`, with the reason of the rule that refused it
 * @throws {AuthError} by `rotate`: `service_unavailable` when the queue is full or the client has hung up,
 * `too_many_attempts` when the family has all its places in the queue
 */
export function createRotation(
  deps: SessionDeps,
  { accessTokens, observer = noObserver }: RotationOptions = {},
): {
  rotate: Rotate
  queue: CommitQueue<Pending, RotationOutcome>
} {
  const queue = createQueueFor<Pending, RotationOutcome>(deps.policy, {
    settle: (batch) => settle(deps, batch, accessTokens),
    onWaited: observer.waited,
  })

  async function rotate(request: RefreshRequest): Promise<LiveSession> {
    const startedAt = performance.now()
    try {
      const pending = { familyId: request.token.familyId, ...request }
      const first = await queue.submit(pending)
      const answer = 'lockFor' in first ? await decideLocked(deps, pending, first.lockFor) : first
      logAnswer(deps, request, answer)
      if (answer.refusal !== null) throw answer.refusal
      observer.answered('granted', performance.now() - startedAt)
      return answer.session
    } catch (error) {
      const outcome = error instanceof AuthError ? error.reason : 'internal_error'
      observer.answered(outcome, performance.now() - startedAt)
      throw error
    }
  }

  return { rotate, queue }
}

/** `lockFor` is the user of a reuse or a reauthentication, which counts only once `decideLocked` confirms it. */
type RotationOutcome = Granted | Refused | { readonly lockFor: string }

/**
 * Reads the families, decides, appends. No lock is held in between: the append locks the families and
 * writes only where the history is still the one that was read. Rotations that were overtaken by another
 * write are missing from the result.
 *
 * Successors are derived and access tokens signed while a query is in flight, for the whole batch at once:
 * that takes half as long as one by one.
 */
async function settle(
  deps: SessionDeps,
  batch: readonly Pending[],
  accessTokens: RotationOptions['accessTokens'],
): Promise<ReadonlyMap<Pending, RotationOutcome>> {
  const [snapshot, candidates] = await Promise.all([
    readSnapshot(deps, deps.sql, batch),
    afterFlush(() => batch.map((pending) => prepareCandidate(deps, pending))),
  ])
  const decided = candidates.map((candidate) => decideOne(deps, candidate, snapshot))
  const appends = decided.flatMap(({ pending, answer }) =>
    keepsFamilyActive(answer.event)
      ? [newAppend(pending.familyId, answer.event, pending.caller)]
      : [],
  )
  const appending = appendUnlessChanged(deps.sql, appends)
  // The tokens are not sent before the append has succeeded: `rotate` resolves only then.
  void afterFlush(() => {
    for (const { answer } of decided)
      if (answer.refusal === null) accessTokens?.signAhead(answer.session)
  })
  const appended = await appending

  const answers = new Map<Pending, RotationOutcome>()
  for (const { pending, answer } of decided) {
    const { familyId } = pending
    const userId = snapshot.families.get(familyId)?.userId
    if (needsLock(answer) && userId !== undefined) answers.set(pending, { lockFor: userId })
    else if (answer.event === null || appended.has(familyId)) answers.set(pending, answer)
  }
  return answers
}

/** Runs `work` after postgres.js has flushed its queue, which it does on the next turn of the event loop. */
async function afterFlush<T>(work: () => T): Promise<T> {
  await nextTurn()
  await nextTurn()
  return work()
}

/**
 * Decides a refresh again while its family is locked, and writes what follows in the same transaction: what a reuse
 * ends, or the token that replaces the one of before the user proved again who they are.
 */
async function decideLocked(
  deps: SessionDeps,
  pending: Pending,
  userId: string,
): Promise<Granted | Refused> {
  const { familyId, caller } = pending
  const ofUser = deps.policy.reuseScope === 'user' ? userId : null
  const { answer, ended } = await inTransactionPer(deps.sql, ofUser ?? familyId, async (tx) => {
    if (!isClientWaiting(pending)) return { answer: abandoned(), ended: [] }
    const locked = await lockForAct(tx, concernedByEnd(familyId, ofUser))
    const snapshot = await readSnapshot(deps, tx, [pending])
    const { answer: decided } = decideOne(deps, prepareCandidate(deps, pending), snapshot)
    const { event } = decided
    const family = locked.families.get(familyId)
    if (event === null || family === undefined) return { answer: decided, ended: [] }
    if (isReuse(decided)) {
      const others = await appendReuse(deps, locked, { family, event, caller })
      return { answer: decided, ended: others }
    }
    await appendEvents(tx, locked.txid, [newAppend(familyId, event, caller)])
    return { answer: decided, ended: [] }
  })
  logRevocations(deps, ended, endedByReuse(caller))
  return answer
}

function logAnswer(
  { logSecurityEvent }: SessionDeps,
  { token, caller }: RefreshRequest,
  answer: Granted | Refused,
): void {
  const { ip } = caller
  const refused = answer.refusal === null ? null : securityEventOf(answer, token, ip)
  if (refused !== null) logSecurityEvent(refused)
  if (answer.refusal !== null) return
  for (const event of replayEvents(answer, caller)) logSecurityEvent(event)
  if (answer.event.kind !== 'reauthenticated') return
  const { familyId, userId } = answer.session
  logSecurityEvent({ event: 'session_reauthenticated', familyId, userId, ip })
}
