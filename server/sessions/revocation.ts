import type { FencedTransaction, Transaction } from '../../db/connection/transaction.ts'
import { appendEvents } from '../../db/ledger/append.ts'
import type { Append, Caller, LockedFamily } from '../../db/ledger/event-rows.ts'
import { readFamilies } from '../../db/ledger/families.ts'
import { bumpEpoch, listOpenFamilies } from '../../db/ledger/locks.ts'
import { decideRevocation } from '../ledger/decide.ts'
import type { LedgerEvent, RevocationReason } from '../ledger/events.ts'
import { foldFamily } from '../ledger/family.ts'
import { randomSalt } from '../tokens/salt.ts'
import { type Actor, inAct } from './act.ts'
import type { SessionDeps } from './session.ts'

/** What is needed to end sessions. */
export type EndDeps = Pick<SessionDeps, 'sql' | 'logSecurityEvent'>

/** Who ends a session, why and from where. `actorUserId` is null for the service and the command line. */
export type EndedBy = {
  readonly reason: RevocationReason
  readonly actorUserId: string | null
  readonly caller: Caller
  /** The session that `actorUserId` acts with; it is asked about again once everything is locked. */
  readonly actor?: Actor
}

/**
 * Ends one session.
 *
 * @param target.ownerId if set, only a session of this user is ended
 * @param target.inSameTransaction further writes, committed together with the end of the session
 * @returns whether the session was active until now; null if it does not exist or belongs to another user
 */
export async function endSession(
  deps: EndDeps,
  target: {
    familyId: string
    ownerId?: string
    inSameTransaction?: (fenced: FencedTransaction, userId: string) => Promise<void>
  },
  by: EndedBy,
): Promise<boolean | null> {
  const revoked = await inAct(deps.sql, target.familyId, {
    concerned: { actor: by.actor, families: async () => [target.familyId] },
    async work({ tx, txid, families }) {
      const family = families.get(target.familyId)
      if (family === undefined) return null
      if (target.ownerId !== undefined && family.userId !== target.ownerId) return null
      const ended = await revokeLocked(tx, { txid, families: [family], by })
      if (ended.length > 0) await target.inSameTransaction?.({ tx, txid }, family.userId)
      return ended
    },
  })
  logRevocations(deps, revoked ?? [], by)
  return revoked && revoked.length > 0
}

/** What became of a session that was to be ended. */
export type EndOutcome = 'ended' | 'was_over'

/**
 * Ends several sessions, of any users.
 *
 * @param target.inSameTransaction further writes, committed together with the ends of these sessions
 * @returns what became of each; sessions that do not exist are missing
 */
export async function endSessions(
  deps: EndDeps,
  target: {
    familyIds: readonly string[]
    inSameTransaction: (fenced: FencedTransaction, ended: readonly LockedFamily[]) => Promise<void>
  },
  by: EndedBy,
): Promise<ReadonlyMap<string, EndOutcome>> {
  // Not the mutex of one of the families: two such acts would wait for each other's.
  const key = target.familyIds.toSorted().join()
  const { known, ended } = await inAct(deps.sql, key, {
    concerned: { actor: by.actor, families: async () => target.familyIds },
    async work({ tx, txid, families }) {
      const locked = target.familyIds.flatMap((id) => families.get(id) ?? [])
      const revoked = await revokeLocked(tx, { txid, families: locked, by })
      await target.inSameTransaction({ tx, txid }, revoked)
      return { known: locked, ended: new Set(revoked) }
    },
  })
  logRevocations(deps, [...ended], by)
  return new Map(
    known.map((family) => [family.familyId, ended.has(family) ? 'ended' : 'was_over'] as const),
  )
}

/**
 * Ends all sessions of a user and invalidates sign-ins in progress. After it returns, no older token works.
 *
 * @param options.exceptFamilyId a session to keep
 * @param options.inSameTransaction further writes, committed together with the ends of the sessions
 * @returns the number of sessions ended
 */
export async function endAllSessions(
  deps: EndDeps,
  userId: string,
  options: {
    by: EndedBy
    exceptFamilyId?: string
    inSameTransaction?: (fenced: FencedTransaction) => Promise<void>
  },
): Promise<number> {
  const { by, exceptFamilyId } = options
  const revoked = await inAct(deps.sql, userId, {
    concerned: {
      actor: by.actor,
      users: [userId],
      families: (tx) => listOpenFamilies(tx, userId),
    },
    async work({ tx, txid, families }) {
      await bumpEpoch(tx, txid, userId)
      const toRevoke = [...families.values()].filter(
        (family) => family.userId === userId && family.familyId !== exceptFamilyId,
      )
      const ended = await revokeLocked(tx, { txid, families: toRevoke, by })
      await options.inSameTransaction?.({ tx, txid })
      return ended
    },
  })
  logRevocations(deps, revoked, by)
  return revoked.length
}

/** Revokes the active ones of these locked families. */
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

/** Call it after the commit, because a transaction may be retried. */
export function logRevocations(
  { logSecurityEvent }: EndDeps,
  revoked: readonly LockedFamily[],
  by: EndedBy,
): void {
  const { reason, actorUserId, caller } = by
  for (const { familyId, userId } of revoked)
    logSecurityEvent({
      event: 'session_revoked',
      familyId,
      userId,
      reason,
      actorUserId,
      ip: caller.ip,
    })
}
