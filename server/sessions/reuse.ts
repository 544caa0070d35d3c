import type { Transaction } from '../../db/connection/transaction.ts'
import { appendEvents } from '../../db/ledger/append.ts'
import type { Caller, LockedFamily } from '../../db/ledger/event-rows.ts'
import {
  bumpEpoch,
  listOpenFamilies,
  lockFamilies,
  lockUser,
  type LockedFamilies,
} from '../../db/ledger/locks.ts'
import type { LedgerEvent } from '../ledger/events.ts'
import { newAppend, revokeLocked, type EndedBy } from './revocation.ts'
import type { SessionDeps } from './session.ts'

/**
 * Locks a family; with `ofUser`, also the user and all their open families. Like everything that locks more than
 * one family, it locks the user first then.
 */
export async function lockForEnd(
  tx: Transaction,
  familyId: string,
  ofUser: string | null,
): Promise<LockedFamilies> {
  if (ofUser !== null) await lockUser(tx, ofUser)
  const open = ofUser === null ? [] : await listOpenFamilies(tx, ofUser)
  return lockFamilies(tx, [...open, familyId])
}

export function endedByReuse(caller: Caller): EndedBy {
  return { reason: 'reuse_elsewhere', actorUserId: null, caller }
}

/**
 * Appends a reuse to its locked family. With `REUSE_SCOPE=user` it also ends the user's other families and
 * invalidates sign-ins in progress: then `locked` has all of them.
 *
 * @returns the other families that it ended
 */
export async function appendReuse(
  { policy }: Pick<SessionDeps, 'policy'>,
  tx: Transaction,
  reuse: { locked: LockedFamilies; family: LockedFamily; event: LedgerEvent; caller: Caller },
): Promise<LockedFamily[]> {
  const { locked, family, event, caller } = reuse
  const { familyId, userId } = family
  await appendEvents(tx, locked.txid, [newAppend(familyId, event, caller)])
  if (policy.reuseScope === 'family') return []
  await bumpEpoch(tx, locked.txid, userId)
  const others = [...locked.families.values()].filter((one) => one.familyId !== familyId)
  return revokeLocked(tx, { txid: locked.txid, families: others, by: endedByReuse(caller) })
}
