import type postgres from 'postgres'
import {
  appendEvents,
  bumpEpoch,
  insertFamily,
  listOpenFamilies,
  lockFamilies,
  lockUser,
  type Append,
  type FamilyRow,
  type Origin,
} from '../../db/ledger/append.ts'
import { readFamilies } from '../../db/ledger/families.ts'
import {
  inTransactionOn,
  type FencedTransaction,
  type Transaction,
} from '../../db/connection/transaction.ts'
import { AuthError } from '../errors.ts'
import { createFamilyId } from './family-id.ts'
import { decideRevocation, type RotationPolicy } from '../ledger/decide.ts'
import type { LedgerEvent, RevocationReason, Transport } from '../ledger/events.ts'
import { foldFamily, isActive } from '../ledger/family.ts'
import {
  createRefreshToken,
  hashSecret,
  type RefreshToken,
  type RefreshTokenKeys,
} from '../tokens/refresh-token.ts'
import { randomSalt } from '../tokens/salt.ts'
import type { RecordFact } from '../observability/security-log.ts'
import type { User, UserDirectory } from '../users/directory.ts'

export type SessionPolicy = RotationPolicy & {
  readonly absoluteMs: number
  readonly reuseScope: 'family' | 'user'
  readonly maxSessionsPerUser: number
  /** How many rotations share a transaction at most. 1 suits a sharded database. */
  readonly rotationBatchSize?: number
}

export type SessionDeps = {
  readonly sql: postgres.Sql
  readonly users: UserDirectory
  readonly refreshKeys: RefreshTokenKeys
  readonly policy: SessionPolicy
  readonly record: RecordFact
}

/** What ending sessions needs. */
export type EndDeps = Pick<SessionDeps, 'sql' | 'record'>

/** A session with the token its client is given next. */
export type LiveSession = {
  readonly familyId: string
  readonly user: User
  readonly transport: Transport
  readonly token: RefreshToken
  readonly signedInAt: number
  readonly refreshExpiresAt: number
  /** By the database's clock, so that nobody's wrong clock shortens a cookie. */
  readonly refreshRemainingMs: number
}

/** Who ended a session, why and from where. */
export type EndedBy = {
  readonly reason: RevocationReason
  readonly actorUserId: string | null
  readonly origin: Origin
}

export type SignIn = {
  readonly user: User
  /** As `readEpoch` gave it before the password was checked. */
  readonly epoch: number
  readonly transport: Transport
  readonly deviceName: string | null
  readonly origin: Origin
}

/**
 * Begins a session: a new family and its first token.
 *
 * @throws {AuthError} `session_revoked` when everything of this user was ended since the sign-in
 * began: it must not outlive that
 */
export async function startSession(deps: SessionDeps, signIn: SignIn): Promise<LiveSession> {
  const { user, transport, origin } = signIn
  const { idleMs, absoluteMs } = deps.policy
  const by: EndedBy = { reason: 'session_limit', actorUserId: null, origin }
  const { session, ended } = await inTransactionOn(deps.sql, user.id, async (tx) => {
    const { txid, epoch, now } = await lockUser(tx, user.id)
    if (epoch !== signIn.epoch)
      throw new AuthError('session_revoked', 'everything was ended during the sign-in')
    const madeRoom = await makeRoom(deps, tx, { userId: user.id, txid, by })

    const familyId = createFamilyId(now)
    const token = createRefreshToken(deps.refreshKeys, familyId)
    const absoluteExpiresAt = now + absoluteMs
    const expiresAt = Math.min(now + idleMs, absoluteExpiresAt)
    await insertFamily(tx, txid, {
      familyId,
      userId: user.id,
      transport,
      deviceName: signIn.deviceName,
      createdAt: now,
      absoluteExpiresAt,
    })
    const issued: LedgerEvent = {
      kind: 'issued',
      seq: 1,
      generation: 0,
      at: now,
      userId: user.id,
      transport,
      tokenHash: hashSecret(token),
      expiresAt,
      absoluteExpiresAt,
    }
    await appendEvents(tx, txid, [newAppend(familyId, issued, origin)])
    const started: LiveSession = {
      familyId,
      user,
      transport,
      token,
      signedInAt: now,
      refreshExpiresAt: expiresAt,
      refreshRemainingMs: expiresAt - now,
    }
    return { session: started, ended: madeRoom }
  })
  recordEnds(deps, ended, by)
  deps.record({ fact: 'session_started', familyId: session.familyId, userId: user.id })
  return session
}

/**
 * Ends one session.
 *
 * @param target.ownerId whose it must be, where that is the caller's right to end it
 * @param target.alongside what is written with the end or not at all
 * @returns whether it was active until now; null when there is none, or none of this owner
 */
export async function endSession(
  deps: EndDeps,
  target: {
    familyId: string
    ownerId?: string
    alongside?: (within: FencedTransaction, userId: string) => Promise<void>
  },
  by: EndedBy,
): Promise<boolean | null> {
  const ended = await inTransactionOn(deps.sql, target.familyId, async (tx) => {
    const { txid, families } = await lockFamilies(tx, [target.familyId])
    const family = families.get(target.familyId)
    if (family === undefined) return null
    if (target.ownerId !== undefined && family.userId !== target.ownerId) return null
    const ends = await revokeLocked(tx, { txid, families: [family], by })
    if (ends.length > 0) await target.alongside?.({ tx, txid }, family.userId)
    return ends
  })
  recordEnds(deps, ended ?? [], by)
  return ended && ended.length > 0
}

/**
 * Ends everything of a user, and every sign-in that has begun: once this returned, nothing older
 * works.
 *
 * @param options.exceptFamilyId the session that may go on
 * @param options.onlyWhileActive the session whose word this is: when it is over, nothing happens
 * @param options.alongside other changes that happen with it or not at all
 * @returns how many sessions were ended; null when the one whose word it was is over
 */
export async function endAllSessions(
  deps: EndDeps,
  userId: string,
  options: {
    by: EndedBy
    exceptFamilyId?: string
    onlyWhileActive?: string
    alongside?: (within: FencedTransaction) => Promise<void>
  },
): Promise<number | null> {
  const ended = await inTransactionOn(deps.sql, userId, async (tx) => {
    const { txid } = await lockUser(tx, userId)
    const open = await listOpenFamilies(tx, userId)
    const speaker = options.onlyWhileActive
    if (speaker !== undefined && !(await isAlive(tx, speaker))) return null
    await bumpEpoch(tx, txid, userId)
    const doomed = open.filter((familyId) => familyId !== options.exceptFamilyId)
    const { families } = await lockFamilies(tx, doomed)
    const ends = await revokeLocked(tx, {
      txid,
      families: [...families.values()],
      by: options.by,
    })
    await options.alongside?.({ tx, txid })
    return ends
  })
  recordEnds(deps, ended ?? [], options.by)
  return ended && ended.length
}

async function isAlive(tx: Transaction, familyId: string): Promise<boolean> {
  const { now, families } = await readFamilies(tx, [{ familyId, generation: null }])
  const family = families.get(familyId)
  return family !== undefined && isActive(foldFamily(family.events), now)
}

/** Revokes those of the locked families that are active. */
export async function revokeLocked(
  tx: Transaction,
  locked: { txid: string; families: readonly FamilyRow[]; by: EndedBy },
): Promise<FamilyRow[]> {
  if (locked.families.length === 0) return []
  const { now, families } = await readFamilies(
    tx,
    locked.families.map(({ familyId }) => ({ familyId, generation: null })),
  )
  const ended = locked.families.flatMap((row) => {
    const family = foldFamily(families.get(row.familyId)?.events ?? [])
    const { reason, actorUserId, origin } = locked.by
    const at = Math.max(now, family.lastAt)
    const event = decideRevocation(family, { reason, actorUserId, now: at })
    return event === null ? [] : [{ row, append: newAppend(row.familyId, event, origin) }]
  })
  await appendEvents(
    tx,
    locked.txid,
    ended.map(({ append }) => append),
  )
  return ended.map(({ row }) => row)
}

export function newAppend<Event extends LedgerEvent>(
  familyId: string,
  event: Event,
  origin: Origin,
): Append<Event> {
  return { familyId, event, origin, originSalt: randomSalt() }
}

/** Ends the user's oldest sessions where the new one would be one too many (ASVS 5.0, 7.1.2). */
async function makeRoom(
  deps: SessionDeps,
  tx: Transaction,
  { userId, txid, by }: { userId: string; txid: string; by: EndedBy },
): Promise<FamilyRow[]> {
  const { maxSessionsPerUser } = deps.policy
  const open = await listOpenFamilies(tx, userId)
  if (open.length < maxSessionsPerUser) return []
  await lockFamilies(tx, open)
  const { now, families } = await readFamilies(
    tx,
    open.map((familyId) => ({ familyId, generation: null })),
  )
  const active = [...families.values()].filter(({ events }) => isActive(foldFamily(events), now))
  const tooMany = active.slice(0, Math.max(0, active.length - maxSessionsPerUser + 1))
  return revokeLocked(tx, { txid, families: tooMany, by })
}

/** Call it after the commit: a transaction may be tried more than once. */
export function recordEnds({ record }: EndDeps, ended: readonly FamilyRow[], by: EndedBy): void {
  const { reason, actorUserId } = by
  for (const { familyId, userId } of ended)
    record({ fact: 'session_revoked', familyId, userId, reason, actorUserId })
}
