import { appendEvents } from '../../db/ledger/append.ts'
import type { Caller, LockedFamily } from '../../db/ledger/event-rows.ts'
import { bumpEpoch, listOpenFamilies } from '../../db/ledger/locks.ts'
import type { LedgerEvent } from '../ledger/events.ts'
import type { Concerned, Locked } from './act.ts'
import { newAppend, revokeLocked, type EndedBy } from './revocation.ts'
import type { SessionDeps } from './session.ts'

/** What the end of a family concerns: that family, and with `ofUser` also the user and all their open families. */
export function concernedByEnd(familyId: string, ofUser: string | null): Concerned {
  if (ofUser === null) return { families: async () => [familyId] }
  return {
    users: [ofUser],
    families: async (tx) => [...(await listOpenFamilies(tx, ofUser)), familyId],
  }
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
  { tx, txid, families }: Locked,
  { family, event, caller }: { family: LockedFamily; event: LedgerEvent; caller: Caller },
): Promise<LockedFamily[]> {
  const { familyId, userId } = family
  await appendEvents(tx, txid, [newAppend(familyId, event, caller)])
  if (policy.reuseScope === 'family') return []
  await bumpEpoch(tx, txid, userId)
  const others = [...families.values()].filter((one) => one.familyId !== familyId)
  return revokeLocked(tx, { txid, families: others, by: endedByReuse(caller) })
}
