import { hash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  appendEvents,
  bumpEpoch,
  findFamilies,
  listOpenFamilies,
  lockFamilies,
  lockUser,
  readTails,
  type Append,
  type LockedFamilies,
  type LockedFamily,
  type Origin,
  type Tail,
} from '../db/ledger.ts'
import { inTransaction, isUnavailable, type Transaction } from '../db/transaction.ts'
import { decideRotation } from './ledger/decide.ts'
import type { LedgerEvent, Transport } from './ledger/events.ts'
import { foldFamily, type Family } from './ledger/family.ts'
import { deriveSuccessor, findSuccessor, hashSecret, type RefreshToken } from './refresh-token.ts'
import { explain, factOf, unknownFamily, unwanted, type Refused } from './refresh-refused.ts'
import { randomSalt } from './random-salt.ts'
import { createRotationQueue, type RotationQueue } from './rotation-queue.ts'
import {
  newAppend,
  recordEnds,
  revokeLocked,
  type EndedBy,
  type LiveSession,
  type SessionDeps,
} from './sessions.ts'
import type { User } from './user-directory.ts'

export type RefreshRequest = {
  readonly token: RefreshToken
  readonly transport: Transport
  readonly attemptId: string | null
  readonly origin: Origin
  /**
   * Asked once the family is locked; nothing is decided for whom nobody waits any more. Its caller may
   * have got the successor elsewhere meanwhile, and gone on: the late request would look like a thief.
   */
  readonly isWanted?: () => boolean
}

export type Rotate = (request: RefreshRequest) => Promise<LiveSession>

export type RotationOptions = {
  /** Told of each refresh how long it waited for its batch, in milliseconds. */
  readonly onWaited?: (ms: number) => void
  /**
   * Told of each session while the database writes what will make it so: time to prepare the answer, which
   * must not be given before `rotate` resolves.
   */
  readonly whileWriting?: (session: LiveSession) => void
}

/**
 * @returns `rotate`, which resolves with the session and its newest token.
 * @throws {RefreshRefused} by `rotate`, with the contract's reason
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
    settle: (batch) => settle(deps, batch, whileWriting),
    ...(onWaited && { onWaited }),
    // After a lost connection nobody knows whether it committed: the caller asks again, with its attempt.
    mayRetry: (error) => !isUnavailable(error),
    ...(deps.policy.rotationBatchSize && { maxBatch: deps.policy.rotationBatchSize }),
    // Without grouping each has a transaction of its own, and a few connections stay free for the rest.
    ...(deps.policy.rotationBatchSize === 1 && { maxInFlight: 5 }),
  })

  async function rotate(request: RefreshRequest): Promise<LiveSession> {
    const pending = { ...request, familyId: request.token.familyId }
    const first = await queue.submit(pending)
    const answer = 'endUser' in first ? await endUserForReuse(deps, pending, first.endUser) : first
    report(deps, request.token, answer)
    if (answer.refusal !== null) throw answer.refusal
    return answer.session
  }

  return { rotate, queue }
}

type Pending = RefreshRequest & { readonly familyId: string }

/** A request with the successor it would get. */
type Candidate = {
  readonly pending: Pending
  readonly attemptHash: Buffer | null
  readonly successor: RefreshToken
  readonly salt: Buffer
}

type Answer = Granted | Refused | { readonly endUser: string }
type Granted = {
  readonly refusal: null
  readonly session: LiveSession
  readonly event: LedgerEvent
}

function prepare({ refreshKeys }: SessionDeps, pending: Pending): Candidate {
  const { token, attemptId } = pending
  const salt = randomSalt()
  return {
    pending,
    attemptHash: attemptId === null ? null : hash('sha256', attemptId, 'buffer'),
    successor: deriveSuccessor(refreshKeys[0], token, salt),
    salt,
  }
}

/**
 * One transaction: lock, read, decide, append. What can be made without the database's answers is made
 * while they are on their way, for the whole batch at once: it takes half as long as one by one.
 */
async function settle(
  deps: SessionDeps,
  batch: readonly Pending[],
  whileWriting: (session: LiveSession) => void,
): Promise<ReadonlyMap<Pending, Answer>> {
  return inTransaction(deps.sql, async (tx, atCommit) => {
    const answers = new Map<Pending, Answer>()
    const familyIds = batch.map(({ familyId }) => familyId)
    const [known, candidates] = await Promise.all([
      lockAndRead(deps, tx, { familyIds, whenLocked: 'skip', asked: batch }),
      onceSent(() => batch.map((pending) => prepare(deps, pending))),
    ])
    const held: Candidate[] = []
    const missed: Pending[] = []
    for (const candidate of candidates) {
      const { pending } = candidate
      if (!isWanted(pending)) answers.set(pending, unwanted())
      else if (known.families.has(pending.familyId)) held.push(candidate)
      else missed.push(pending)
    }
    if (missed.length > 0) {
      for (const pending of await findUnknown(tx, missed)) answers.set(pending, unknownFamily())
    }
    const decided = held.map((candidate) => decideKnown(deps, candidate, known))
    const endsUser = (one: Decided) => deps.policy.reuseScope === 'user' && isReuse(one.answer)
    for (const one of decided)
      answers.set(one.pending, endsUser(one) ? { endUser: one.userId } : one.answer)
    const appends = decided.filter((one) => !endsUser(one)).flatMap(appendOf)
    atCommit(appendEvents(tx, known.txid, appends))
    const sessions = decided.flatMap(({ answer }) => (answer.refusal ? [] : [answer.session]))
    void onceSent(() => sessions.forEach(whileWriting))
    return answers
  })
}

type Known = LockedFamilies & {
  readonly tails: ReadonlyMap<string, Tail>
  readonly now: number
  readonly users: ReadonlyMap<string, User>
}

/** Does this when the driver has sent what it was given: it waits a turn for more. */
async function onceSent<T>(work: () => T): Promise<T> {
  await nextTurn()
  await nextTurn()
  return work()
}

/** Locks the families, and then reads those that are asked for, and who their users are now. */
async function lockAndRead(
  deps: SessionDeps,
  tx: Transaction,
  of: {
    readonly familyIds: readonly string[]
    readonly whenLocked: 'wait' | 'skip'
    readonly asked: readonly Pending[]
  },
): Promise<Known> {
  const locking = lockFamilies(tx, of.familyIds, of.whenLocked)
  const asking = locking.then(({ families }) =>
    deps.users.findMany([...new Set([...families.values()].map(({ userId }) => userId))]),
  )
  // Sent behind the lock without waiting for its answer: the database takes them one after the other.
  const reading = readTails(
    tx,
    of.asked.map(({ token }) => token),
  )
  const [locked, users, { tails, now }] = await Promise.all([locking, asking, reading])
  return { ...locked, users, tails, now }
}

type Decided = {
  readonly pending: Pending
  readonly userId: string
  readonly answer: Granted | Refused
}

function decideKnown(deps: SessionDeps, candidate: Candidate, known: Known): Decided {
  const { pending } = candidate
  const row = known.families.get(pending.familyId)
  const tail = known.tails.get(pending.familyId)
  if (row === undefined || tail === undefined)
    throw new Error(`ledger corrupt: family ${pending.familyId} has no events`)
  const user = known.users.get(row.userId)
  const answer = decide(deps, candidate, { row, tail, now: known.now, user })
  return { pending, userId: row.userId, answer }
}

function decide(
  deps: SessionDeps,
  candidate: Candidate,
  known: { row: LockedFamily; tail: Tail; now: number; user: User | undefined },
): Granted | Refused {
  const { pending, attemptHash, successor, salt } = candidate
  const { row, tail, user } = known
  const family = foldFamily(tail.events)
  const now = Math.max(known.now, family.lastAt)
  const { event, refusal } = decideRotation(family, {
    presented: {
      generation: pending.token.generation,
      isIssued: tail.tokenHash !== null && hashSecret(pending.token).equals(tail.tokenHash),
      transport: pending.transport,
      attemptHash,
    },
    transport: row.transport,
    userMayRefresh: user !== undefined && !user.disabled,
    next: { tokenHash: hashSecret(successor), salt },
    now,
    policy: deps.policy,
  })
  if (refusal !== null) {
    const { generation } = family.current
    return {
      refusal: explain(refusal, { row, family, event }),
      family: row,
      event,
      ...(pending.token.generation > generation && { isAhead: { currentGeneration: generation } }),
    }
  }
  if (event === null || user === undefined) throw new Error('a grant without an event or a user')
  return {
    refusal: null,
    session: grant(deps, candidate, { row, family, event, now, user }),
    event,
  }
}

function grant(
  { refreshKeys }: SessionDeps,
  { pending, successor }: Candidate,
  granted: { row: LockedFamily; family: Family; event: LedgerEvent; now: number; user: User },
): LiveSession {
  const { row, family, event, now, user } = granted
  const made = event.kind === 'rotated' ? event : family.current
  if (made.kind !== 'rotated') throw new Error('a grant without a successor')
  const token =
    event.kind === 'rotated'
      ? successor
      : findSuccessor(refreshKeys, pending.token, { salt: made.salt, tokenHash: made.tokenHash })
  if (token === null) throw new Error('no key of ours makes the successor the ledger holds')
  return {
    familyId: row.familyId,
    user,
    transport: row.transport,
    token,
    signedInAt: row.createdAt,
    refreshExpiresAt: made.expiresAt,
    refreshRemainingMs: made.expiresAt - now,
  }
}

async function findUnknown(tx: Transaction, missed: readonly Pending[]): Promise<Pending[]> {
  const known = await findFamilies(
    tx,
    missed.map(({ familyId }) => familyId),
  )
  return missed.filter(({ familyId }) => !known.has(familyId))
}

/**
 * `REUSE_SCOPE=user`: the reuse, the end of the user's every other family, and of sign-ins that have
 * begun, in one transaction. It takes the user's turn first, as everything that locks more than one
 * family does.
 */
async function endUserForReuse(
  deps: SessionDeps,
  pending: Pending,
  userId: string,
): Promise<Granted | Refused> {
  const by: EndedBy = { reason: 'reuse_elsewhere', actorUserId: null, origin: pending.origin }
  const { answer, ended } = await inTransaction(deps.sql, async (tx) => {
    await lockUser(tx, userId)
    const open = await listOpenFamilies(tx, userId)
    const familyIds = [...open, pending.familyId]
    const known = await lockAndRead(deps, tx, { familyIds, whenLocked: 'wait', asked: [pending] })
    const { txid, families } = known
    if (!families.has(pending.familyId)) return { answer: unknownFamily(), ended: [] }
    if (!isWanted(pending)) return { answer: unwanted(), ended: [] }
    const decided = decideKnown(deps, prepare(deps, pending), known)
    await appendEvents(tx, txid, appendOf(decided))
    if (!isReuse(decided.answer)) return { answer: decided.answer, ended: [] }
    await bumpEpoch(tx, txid, userId)
    const others = [...families.values()].filter(({ familyId }) => familyId !== pending.familyId)
    const ends = await revokeLocked(tx, { txid, families: others, by })
    return { answer: decided.answer, ended: ends }
  })
  recordEnds(deps, ended, by)
  return answer
}

/** Seen under the lock: from here on nobody overtakes it. */
function isWanted(pending: Pending): boolean {
  return pending.isWanted?.() ?? true
}

function appendOf({ pending, answer }: Decided): Append[] {
  if (answer.event === null) return []
  return [newAppend(pending.familyId, answer.event, pending.origin)]
}

function isReuse(answer: Granted | Refused): boolean {
  return answer.event?.kind === 'reuse_detected'
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
