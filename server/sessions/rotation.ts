import { setImmediate as nextTurn } from 'node:timers/promises'
import { appendEvents, appendUnlessChanged } from '../../db/ledger/append.ts'
import { bumpEpoch, listOpenFamilies, lockFamilies, lockUser } from '../../db/ledger/locks.ts'
import { decidedAgain, inTransactionOn } from '../../db/connection/transaction.ts'
import { isUnavailable } from '../../db/connection/errors.ts'
import { factOf, unwanted, type Refused } from './refresh-refused.ts'
import type { RefreshToken } from '../tokens/refresh-token.ts'
import {
  decideOne,
  goesOn,
  isReuse,
  isWanted,
  prepare,
  readKnown,
  type Granted,
  type Pending,
  type RefreshRequest,
} from './refresh-decision.ts'
import { createRotationQueue, type RotationQueue } from './group-commit.ts'
import { newAppend, recordEnds, revokeLocked, type EndedBy } from './revocation.ts'
import type { LiveSession, SessionDeps } from './session.ts'

export type Rotate = (request: RefreshRequest) => Promise<LiveSession>

export type RotationOptions = {
  /** Told of each refresh how long it waited for its batch, in milliseconds. */
  readonly onWaited?: (ms: number) => void
  /**
   * Told of the sessions of a batch while the database writes what will make them so: time to prepare the
   * answers, which must not be given before `rotate` resolves.
   */
  readonly whileWriting?: (sessions: readonly LiveSession[]) => void
}

/**
 * @returns `rotate`, which resolves with the session and its newest token.
 * @throws {RefreshRefused} by `rotate`, with a reason of docs/reference/http.md
 * @throws {AuthError} by `rotate`: `service_unavailable` when the queue is full, or nobody waits any more
 */
export function createRotation(
  deps: SessionDeps,
  { onWaited, whileWriting = () => {} }: RotationOptions = {},
): {
  rotate: Rotate
  queue: RotationQueue<Pending, Answer>
} {
  const queue = createRotationQueue<Pending, Answer>({
    settle: (batch) => decidedAgain(() => settle(deps, batch, whileWriting)),
    ...(onWaited && { onWaited }),
    // After a lost connection nobody knows whether it was written: the caller asks again, with its attempt.
    mayRetry: (error) => !isUnavailable(error),
    ...(deps.policy.rotationBatchSize && { maxBatch: deps.policy.rotationBatchSize }),
    // Without grouping each has a statement of its own, and a few connections stay free for the rest.
    ...(deps.policy.rotationBatchSize === 1 && { maxInFlight: 5 }),
  })

  async function rotate(request: RefreshRequest): Promise<LiveSession> {
    const { familyId } = request.token
    const pending = { ...request, familyId }
    const first = await queue.submit(pending)
    const answer = 'reuseOf' in first ? await decideReuse(deps, pending, first.reuseOf) : first
    report(deps, request.token, answer)
    if (answer.refusal !== null) throw answer.refusal
    return answer.session
  }

  return { rotate, queue }
}

/** A reuse is not believed before it was decided again under the lock. */
type Answer = Granted | Refused | { readonly reuseOf: string }

/**
 * Read, decide, append. Nothing is locked while it is decided: the append takes the locks, and writes where
 * the history is still the one that was read. Whatever was overtaken is missing in the answer.
 *
 * What can be made without the database's answers is made while they are on their way, for the whole batch
 * at once: it takes half as long as one by one.
 */
async function settle(
  deps: SessionDeps,
  batch: readonly Pending[],
  whileWriting: (sessions: readonly LiveSession[]) => void,
): Promise<ReadonlyMap<Pending, Answer>> {
  const [known, candidates] = await Promise.all([
    readKnown(deps, deps.sql, batch),
    onceSent(() => batch.map((pending) => prepare(deps, pending))),
  ])
  const decided = candidates.map((candidate) => decideOne(deps, candidate, known))
  const writing = decided.flatMap(({ pending, answer }) =>
    goesOn(answer.event) ? [newAppend(pending.familyId, answer.event, pending.origin)] : [],
  )
  const appending = appendUnlessChanged(deps.sql, writing)
  const sessions = decided.flatMap(({ answer }) => (answer.refusal ? [] : [answer.session]))
  void onceSent(() => whileWriting(sessions))
  const appended = await appending

  const answers = new Map<Pending, Answer>()
  for (const { pending, answer } of decided) {
    const { familyId } = pending
    const userId = known.families.get(familyId)?.userId
    if (isReuse(answer) && userId !== undefined) answers.set(pending, { reuseOf: userId })
    else if (answer.event === null || appended.has(familyId)) answers.set(pending, answer)
  }
  return answers
}

/** Does this when the driver has sent what it was given: it waits a turn for more. */
async function onceSent<T>(work: () => T): Promise<T> {
  await nextTurn()
  await nextTurn()
  return work()
}

/**
 * A spent token, decided again while its family is locked, in one transaction with what it ends: with
 * `REUSE_SCOPE=user` the user's every other family, and sign-ins that have begun. That takes the user's
 * turn first, as everything does that locks more than one family.
 */
async function decideReuse(
  deps: SessionDeps,
  pending: Pending,
  userId: string,
): Promise<Granted | Refused> {
  const endsUser = deps.policy.reuseScope === 'user'
  const by: EndedBy = { reason: 'reuse_elsewhere', actorUserId: null, origin: pending.origin }
  const lockedFirst = endsUser ? userId : pending.familyId
  const { answer, ended } = await inTransactionOn(deps.sql, lockedFirst, async (tx) => {
    if (!isWanted(pending)) return { answer: unwanted(), ended: [] }
    if (endsUser) await lockUser(tx, userId)
    const open = endsUser ? await listOpenFamilies(tx, userId) : []
    const { txid, families } = await lockFamilies(tx, [...open, pending.familyId])
    const known = await readKnown(deps, tx, [pending])
    const { answer: decided } = decideOne(deps, prepare(deps, pending), known)
    const { event } = decided
    if (event !== null)
      await appendEvents(tx, txid, [newAppend(pending.familyId, event, pending.origin)])
    if (!endsUser || !isReuse(decided)) return { answer: decided, ended: [] }
    await bumpEpoch(tx, txid, userId)
    const others = [...families.values()].filter(({ familyId }) => familyId !== pending.familyId)
    const ends = await revokeLocked(tx, { txid, families: others, by })
    return { answer: decided, ended: ends }
  })
  recordEnds(deps, ended, by)
  return answer
}

function report({ record }: SessionDeps, token: RefreshToken, answer: Granted | Refused): void {
  if (answer.refusal !== null) {
    const fact = factOf(answer, token)
    if (fact !== null) record(fact)
  } else if (answer.event.kind === 'replayed') {
    const { familyId, user } = answer.session
    record({ fact: 'session_replayed', familyId, userId: user.id })
  }
}
