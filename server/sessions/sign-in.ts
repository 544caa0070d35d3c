import { inTransactionPer, type Transaction } from '../../db/connection/transaction.ts'
import { appendEvents, insertFamily } from '../../db/ledger/append.ts'
import type { Caller, LockedFamily } from '../../db/ledger/event-rows.ts'
import { readFamilies } from '../../db/ledger/families.ts'
import { listOpenFamilies, lockFamilies, lockUser } from '../../db/ledger/locks.ts'
import { AuthError } from '../errors.ts'
import type { LedgerEvent, Transport } from '../ledger/events.ts'
import { foldFamily, isActive } from '../ledger/family.ts'
import { createRefreshToken, hashSecret } from '../tokens/refresh-token.ts'
import type { User } from '../users/directory.ts'
import { createFamilyId } from './family-id.ts'
import { type EndedBy, newAppend, logRevocations, revokeLocked } from './revocation.ts'
import type { LiveSession, SessionDeps } from './session.ts'

export type NewSession = {
  readonly user: User
  /** From `readEpoch`, called before the password was checked. */
  readonly epoch: number
  readonly transport: Transport
  readonly deviceName: string | null
  readonly caller: Caller
}

/**
 * Starts a session: a new family and its first token.
 *
 * @throws {AuthError} `session_revoked` if all sessions of the user were ended since this sign-in
 * started
 */
export async function startSession(deps: SessionDeps, signIn: NewSession): Promise<LiveSession> {
  const { user, transport, caller } = signIn
  const { idleMs, absoluteMs } = deps.policy
  const by: EndedBy = { reason: 'session_limit', actorUserId: null, caller }
  const { session, ended } = await inTransactionPer(deps.sql, user.id, async (tx) => {
    const { txid, epoch, now } = await lockUser(tx, user.id)
    if (epoch !== signIn.epoch)
      throw new AuthError(
        'session_revoked',
        'all sessions of the user were ended during the sign-in',
      )
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
    await appendEvents(tx, txid, [newAppend(familyId, issued, caller)])
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
  logRevocations(deps, ended, by)
  const { familyId } = session
  deps.logSecurityEvent({ event: 'session_started', familyId, userId: user.id, ip: caller.ip })
  return session
}

/** Ends the user's oldest sessions if the new one would exceed the limit (ASVS 5.0, 7.1.2). */
async function makeRoom(
  deps: SessionDeps,
  tx: Transaction,
  { userId, txid, by }: { userId: string; txid: string; by: EndedBy },
): Promise<LockedFamily[]> {
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
