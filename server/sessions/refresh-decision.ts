import { hash } from 'node:crypto'
import type postgres from 'postgres'
import { readFamilies, type FamilyState } from '../../db/ledger/families.ts'
import type { Caller } from '../../db/ledger/event-rows.ts'
import type { Transaction } from '../../db/connection/transaction.ts'
import { ownerIn } from '../../db/subjects.ts'
import type { AuthError } from '../errors.ts'
import { decideRotation, isSameAttempt } from '../ledger/decide.ts'
import {
  isSuccession,
  type Authentication,
  type LedgerEvent,
  type Replayed,
  type Rotated,
  type Transport,
} from '../ledger/events.ts'
import { foldFamily, successionsSince, type Family } from '../ledger/family.ts'
import type { Sighting } from '../ledger/sighting.ts'
import { randomSalt } from '../tokens/salt.ts'
import { toRefusal, unknownFamily, abandoned, type Refused } from './refresh-refused.ts'
import {
  deriveSuccessor,
  findDescendant,
  hashSecret,
  hasHash,
  type RefreshToken,
} from '../tokens/refresh-token.ts'
import type { LiveSession, SessionDeps } from './session.ts'
import type { OwnDirectory } from '../users/accounts.ts'
import type { User } from '../users/directory.ts'

export type RefreshRequest = {
  readonly token: RefreshToken
  readonly transport: Transport
  readonly attemptId: string | null
  /** The attempts that the client made before this one; none unless given. */
  readonly previousAttemptIds?: readonly string[]
  readonly caller: Caller
  /**
   * Checked right before deciding. If the client has hung up, the refresh is not carried out: it may have
   * retried through another process already, and this late request would look like reuse.
   */
  readonly isClientWaiting?: () => boolean
  /**
   * If set (rate limit exceeded), refuse with this error unless the request is a reuse: reuse must always be
   * recorded.
   */
  readonly refusalUnlessReuse?: AuthError | null
  /** Set when the user has just proved again who they are. At the instant of the decision, unless it says another. */
  readonly reauthentication?: ProofAgain
}

export type ProofAgain = {
  readonly methods: readonly string[]
  /** Epoch milliseconds; null for now. An instant of the future counts as now. */
  readonly authenticatedAt: number | null
}

export type Pending = RefreshRequest & { readonly familyId: string }

/** A request with the successor it would get. `salt` is what the successor was derived with. */
export type Candidate = {
  readonly pending: Pending
  readonly attemptHash: Buffer | null
  readonly successor: RefreshToken
  readonly salt: Buffer
}

export type Granted = {
  readonly refusal: null
  readonly session: LiveSession
  readonly event: LedgerEvent
  /** Of a replay. */
  readonly sighting?: Sighting
}

export type Snapshot = {
  readonly now: number
  readonly families: ReadonlyMap<string, FamilyState>
  /** By the ledger's ids. */
  readonly users: ReadonlyMap<string, User>
}

export type Decided = { readonly pending: Pending; readonly answer: Granted | Refused }

/** Prepares everything that does not depend on the state of the family. */
export function prepareCandidate({ refreshKeys }: SessionDeps, pending: Pending): Candidate {
  const { token, attemptId } = pending
  const salt = randomSalt()
  return {
    pending,
    attemptHash: attemptId === null ? null : hashAttempt(attemptId),
    successor: deriveSuccessor(refreshKeys[0], token, salt),
    salt,
  }
}

function hashAttempt(attemptId: string): Buffer {
  return hash('sha256', attemptId, 'buffer')
}

/** Reads the requested families, and their users as they are now. */
export async function readSnapshot(
  { users: directory }: SessionDeps,
  sql: postgres.Sql | Transaction,
  requests: readonly Pending[],
): Promise<Snapshot> {
  const { now, families } = await readFamilies(
    sql,
    requests.map(({ token }) => token),
  )
  const found = [...families.values()]
  // `readFamilies` has read our own accounts in the same statement. Another directory is asked for the batch.
  const users =
    'fromAccountRow' in directory
      ? usersOfAccounts(directory, found)
      : await directory.findOwners([...new Set(found.map(({ userId }) => userId))])
  return { now, families, users }
}

function usersOfAccounts(
  directory: OwnDirectory,
  families: readonly FamilyState[],
): ReadonlyMap<string, User> {
  const users = new Map<string, User>()
  for (const { userId, account } of families)
    if (account !== null) users.set(userId, directory.fromAccountRow(account))
  return users
}

/** Applies the rotation rules to one refresh. Nothing is written yet. */
export function decideOne(deps: SessionDeps, candidate: Candidate, snapshot: Snapshot): Decided {
  const { pending } = candidate
  const family = snapshot.families.get(pending.familyId)
  if (!isClientWaiting(pending)) return { pending, answer: abandoned() }
  if (family === undefined) return { pending, answer: unknownFamily() }
  const user = ownerIn(snapshot.users, family.userId)
  const answer = decide(deps, candidate, { row: family, now: snapshot.now, user })
  if (pending.refusalUnlessReuse && !isReuse(answer))
    return { pending, answer: { refusal: pending.refusalUnlessReuse, family: null, event: null } }
  return { pending, answer }
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
  const isSpent = pending.token.generation < family.current.generation
  const { event, refusal, sighting } = decideRotation(family, {
    presented: {
      generation: pending.token.generation,
      isIssued: hasHash(pending.token, row.tokenHash),
      transport: pending.transport,
      attemptHash,
      // Hashed here and not for each candidate: most tokens are not spent.
      previousAttemptHashes: isSpent ? (pending.previousAttemptIds ?? []).map(hashAttempt) : [],
      caller: pending.caller,
    },
    history: row.history,
    transport: row.transport,
    userMayRefresh: user !== undefined && !user.disabled,
    next: { tokenHash: hashSecret(successor), salt },
    now,
    policy: deps.policy,
    ...(pending.reauthentication && {
      reauthentication: provedBy(pending.reauthentication, { family, now }),
    }),
  })
  if (refusal !== null) {
    const { generation } = family.current
    return {
      refusal: toRefusal(refusal, { row, family, event }),
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
    ...(sighting !== undefined && { sighting }),
  }
}

/** A proof that is older than the session's own, such as one that a provider remembered, does not set its time back. */
function provedBy(
  { methods, authenticatedAt }: ProofAgain,
  { family, now }: { family: Family; now: number },
): Authentication {
  const at = Math.min(authenticatedAt ?? now, now)
  return {
    methods,
    authenticatedAt: Math.max(at, family.current.authentication?.authenticatedAt ?? 0),
  }
}

function grant(
  { refreshKeys }: SessionDeps,
  { pending, attemptHash, successor }: Candidate,
  granted: { row: FamilyState; family: Family; event: LedgerEvent; now: number; user: User },
): LiveSession {
  const { row, family, event, now, user } = granted
  const made = isSuccession(event) ? event : family.current
  if (!isSuccession(made)) throw new Error('a grant without a successor')
  const token = isSuccession(event)
    ? successor
    : findDescendant(
        refreshKeys,
        pending.token,
        successionsSince(pending.token.generation, row.events),
      )
  if (token === null) throw new Error('no configured key derives the successors in the ledger')
  return {
    familyId: row.familyId,
    userId: row.userId,
    user,
    transport: row.transport,
    token,
    signedInAt: row.createdAt,
    authentication: made.authentication,
    isReauthenticated:
      made.kind === 'reauthenticated' &&
      (made === event || isSameAttempt(made.attemptHash, attemptHash)),
    refreshExpiresAt: made.expiresAt,
    refreshRemainingMs: made.expiresAt - now,
  }
}

/** Checked right before the decision, and so before anything is written. */
export function isClientWaiting(pending: Pending): boolean {
  return pending.isClientWaiting?.() ?? true
}

/** Whether the event is written without a lock: it leaves the family active and says nothing about its user. */
export function keepsFamilyActive(event: LedgerEvent | null): event is Rotated | Replayed {
  return event?.kind === 'rotated' || event?.kind === 'replayed'
}

/** Whether the event is written only once it was decided again under the lock of its family. */
export function needsLock({ event }: Granted | Refused): boolean {
  return event !== null && !keepsFamilyActive(event)
}

export function isReuse(answer: Granted | Refused): boolean {
  return answer.event?.kind === 'reuse_detected'
}
