import {
  type FencedTransaction,
  inTransactionPer,
  type Transaction,
} from '../../db/connection/transaction.ts'
import { appendEvents } from '../../db/ledger/append.ts'
import type { Append, Caller, LockedFamily } from '../../db/ledger/event-rows.ts'
import { readFamilies } from '../../db/ledger/families.ts'
import { bumpEpoch, listOpenFamilies, lockFamilies, lockUser } from '../../db/ledger/locks.ts'
import { decideRevocation } from '../ledger/decide.ts'
import type { LedgerEvent, RevocationReason } from '../ledger/events.ts'
import { foldFamily, isActive } from '../ledger/family.ts'
import { randomSalt } from '../tokens/salt.ts'
import type { SessionDeps } from './session.ts'

/** What ending sessions needs. */
export type EndDeps = Pick<SessionDeps, 'sql' | 'logSecurityEvent'>

/** Who ended a session, why and from where. */
export type EndedBy = {
  readonly reason: RevocationReason
  readonly actorUserId: string | null
  readonly caller: Caller
}

/**
 * Ends one session.
 *
 * @param target.ownerId whose it must be, where that is the caller's right to end it
 * @param target.inSameTransaction what is written with the end or not at all
 * @returns whether it was active until now; null when there is none, or none of this owner
 */
export async function endSession(
  deps: EndDeps,
  target: {
    familyId: string
    ownerId?: string
    inSameTransaction?: (within: FencedTransaction, userId: string) => Promise<void>
  },
  by: EndedBy,
): Promise<boolean | null> {
  const ended = await inTransactionPer(deps.sql, target.familyId, async (tx) => {
    const { txid, families } = await lockFamilies(tx, [target.familyId])
    const family = families.get(target.familyId)
    if (family === undefined) return null
    if (target.ownerId !== undefined && family.userId !== target.ownerId) return null
    const ends = await revokeLocked(tx, { txid, families: [family], by })
    if (ends.length > 0) await target.inSameTransaction?.({ tx, txid }, family.userId)
    return ends
  })
  logRevocations(deps, ended ?? [], by)
  return ended && ended.length > 0
}

/**
 * Ends everything of a user, and every sign-in that has begun: once this returned, nothing older
 * works.
 *
 * @param options.exceptFamilyId the session that may go on
 * @param options.onlyWhileActive the session whose word this is: when it is over, nothing happens
 * @param options.inSameTransaction other changes that happen with it or not at all
 * @returns how many sessions were ended; null when the one whose word it was is over
 */
export async function endAllSessions(
  deps: EndDeps,
  userId: string,
  options: {
    by: EndedBy
    exceptFamilyId?: string
    onlyWhileActive?: string
    inSameTransaction?: (within: FencedTransaction) => Promise<void>
  },
): Promise<number | null> {
  const ended = await inTransactionPer(deps.sql, userId, async (tx) => {
    const { txid } = await lockUser(tx, userId)
    const open = await listOpenFamilies(tx, userId)
    const speaker = options.onlyWhileActive
    if (speaker !== undefined && !(await isAlive(tx, speaker))) return null
    await bumpEpoch(tx, txid, userId)
    const toRevoke = open.filter((familyId) => familyId !== options.exceptFamilyId)
    const { families } = await lockFamilies(tx, toRevoke)
    const ends = await revokeLocked(tx, {
      txid,
      families: [...families.values()],
      by: options.by,
    })
    await options.inSameTransaction?.({ tx, txid })
    return ends
  })
  logRevocations(deps, ended ?? [], options.by)
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
  locked: { txid: string; families: readonly LockedFamily[]; by: EndedBy },
): Promise<LockedFamily[]> {
  if (locked.families.length === 0) return []
  const { now, families } = await readFamilies(
    tx,
    locked.families.map(({ familyId }) => ({ familyId, generation: null })),
  )
  const ended = locked.families.flatMap((row) => {
    const family = foldFamily(families.get(row.familyId)?.events ?? [])
    const { reason, actorUserId, caller } = locked.by
    const at = Math.max(now, family.lastAt)
    const event = decideRevocation(family, { reason, actorUserId, now: at })
    return event === null ? [] : [{ row, append: newAppend(row.familyId, event, caller) }]
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
  caller: Caller,
): Append<Event> {
  return { familyId, event, caller, callerSalt: randomSalt() }
}

/** Call it after the commit: a transaction may be tried more than once. */
export function logRevocations(
  { logSecurityEvent }: EndDeps,
  ended: readonly LockedFamily[],
  by: EndedBy,
): void {
  const { reason, actorUserId } = by
  for (const { familyId, userId } of ended)
    logSecurityEvent({ event: 'session_revoked', familyId, userId, reason, actorUserId })
}
