import { hash } from 'node:crypto'
import type postgres from 'postgres'
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  appendEvents,
  appendUnlessChanged,
  bumpEpoch,
  listOpenFamilies,
  lockFamilies,
  lockUser,
  readFamilies,
  type Append,
  type FamilyState,
  type Origin,
} from '../db/ledger.ts'
import { decidedAgain, inTransaction, isUnavailable, type Transaction } from '../db/transaction.ts'
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
   * Asked once the history is known; nothing is decided for whom nobody waits any more. Its caller may
   * have got the successor elsewhere meanwhile, and gone on: the late request would look like a thief.
   */
  readonly isWanted?: () => boolean
}

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
    settle: (batch) => decidedAgain(() => settle(deps, batch, whileWriting)),
    ...(onWaited && { onWaited }),
    // After a lost connection nobody knows whether it was written: the caller asks again, with its attempt.
    mayRetry: (error) => !isUnavailable(error),
    ...(deps.policy.rotationBatchSize && { maxBatch: deps.policy.rotationBatchSize }),
    // Without grouping each has a statement of its own, and a few connections stay free for the rest.
    ...(deps.policy.rotationBatchSize === 1 && { maxInFlight: 5 }),
  })

  async function rotate(request: RefreshRequest): Promise<LiveSession> {
    const pending = { ...request, familyId: request.token.familyId }
    const first = await queue.submit(pending)
    const answer = 'reuseOf' in first ? await decideReuse(deps, pending, first.reuseOf) : first
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

/** A reuse is not believed before it was decided again under the lock. */
type Answer = Granted | Refused | { readonly reuseOf: string }
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
    read(deps, deps.sql, batch),
    onceSent(() => batch.map((pending) => prepare(deps, pending))),
  ])
  const decided = candidates.map((candidate) => decideOne(deps, candidate, known))
  const writing = decided.filter(({ answer }) => answer.event !== null && !isReuse(answer))
  const appending = appendUnlessChanged(deps.sql, writing.flatMap(appendOf))
  const sessions = writing.flatMap(({ answer }) => (answer.refusal ? [] : [answer.session]))
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

type Known = {
  readonly now: number
  readonly families: ReadonlyMap<string, FamilyState>
  readonly users: ReadonlyMap<string, User>
}

/** Does this when the driver has sent what it was given: it waits a turn for more. */
async function onceSent<T>(work: () => T): Promise<T> {
  await nextTurn()
  await nextTurn()
  return work()
}

/** The families that are asked for, and who their users are now. */
async function read(
  { users }: SessionDeps,
  sql: postgres.Sql | Transaction,
  asked: readonly Pending[],
): Promise<Known> {
  const { now, families } = await readFamilies(
    sql,
    asked.map(({ token }) => token),
  )
  const { ofRow } = users
  const found = [...families.values()]
  if (ofRow === undefined) {
    const ids = new Set(found.map(({ userId }) => userId))
    return { now, families, users: await users.findMany([...ids]) }
  }
  const known = found.flatMap(({ account }) => (account === null ? [] : [ofRow(account)]))
  return { now, families, users: new Map(known.map((user) => [user.id, user])) }
}

type Decided = { readonly pending: Pending; readonly answer: Granted | Refused }

function decideOne(deps: SessionDeps, candidate: Candidate, known: Known): Decided {
  const { pending } = candidate
  const family = known.families.get(pending.familyId)
  if (!isWanted(pending)) return { pending, answer: unwanted() }
  if (family === undefined) return { pending, answer: unknownFamily() }
  const user = known.users.get(family.userId)
  return { pending, answer: decide(deps, candidate, { row: family, now: known.now, user }) }
}

function decide(
  deps: SessionDeps,
  candidate: Candidate,
  known: { row: FamilyState; now: number; user: User | undefined },
): Granted | Refused {
  const { pending, attemptHash, successor, salt } = candidate
  const { row, user } = known
  const family = foldFamily(row.events)
  const now = Math.max(known.now, family.lastAt)
  const { event, refusal } = decideRotation(family, {
    presented: {
      generation: pending.token.generation,
      isIssued: row.tokenHash !== null && hashSecret(pending.token).equals(row.tokenHash),
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
  granted: { row: FamilyState; family: Family; event: LedgerEvent; now: number; user: User },
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
  const { answer, ended } = await inTransaction(deps.sql, async (tx) => {
    if (endsUser) await lockUser(tx, userId)
    const open = endsUser ? await listOpenFamilies(tx, userId) : []
    const { txid, families } = await lockFamilies(tx, [...open, pending.familyId])
    const known = await read(deps, tx, [pending])
    const decided = decideOne(deps, prepare(deps, pending), known)
    await appendEvents(tx, txid, appendOf(decided))
    if (!endsUser || !isReuse(decided.answer)) return { answer: decided.answer, ended: [] }
    await bumpEpoch(tx, txid, userId)
    const others = [...families.values()].filter(({ familyId }) => familyId !== pending.familyId)
    const ends = await revokeLocked(tx, { txid, families: others, by })
    return { answer: decided.answer, ended: ends }
  })
  recordEnds(deps, ended, by)
  return answer
}

/** Asked right before what it would write is sent. */
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
