import {
  inTransaction,
  oneAtATimePer,
  retryOnConflict,
  type Transaction,
} from '../../db/connection/transaction.ts'
import { beginFamily, type Begun, type NewFamily } from '../../db/ledger/begin-family.ts'
import type { Caller, LockedFamily } from '../../db/ledger/event-rows.ts'
import { readFamilies } from '../../db/ledger/families.ts'
import { listOpenFamilies, lockFamilies, lockUsers } from '../../db/ledger/locks.ts'
import { ledgerIdOf } from '../../db/subjects.ts'
import { AuthError } from '../errors.ts'
import type { Transport } from '../ledger/events.ts'
import { foldFamily, isActive } from '../ledger/family.ts'
import { createRefreshToken, hashSecret, randomSecret } from '../tokens/refresh-token.ts'
import { randomSalt } from '../tokens/salt.ts'
import type { User } from '../users/directory.ts'
import { createFamilyId } from './family-id.ts'
import { type EndedBy, logRevocations, revokeLocked } from './revocation.ts'
import type { LiveSession, SessionDeps } from './session.ts'

export type NewSession = {
  readonly user: User
  /** From `readEpoch`, called before the password was checked. */
  readonly epoch: number
  readonly transport: Transport
  readonly deviceName: string | null
  readonly caller: Caller
  /** How the user proved who they are: RFC 8176. */
  readonly methods: readonly string[]
  /** Epoch milliseconds; now unless given. An instant of the future counts as now. */
  readonly authenticatedAt?: number | null
}

/**
 * Starts a session: a new family and its first token. One statement does it; where the user has as many open sessions
 * as they may, a transaction ends some of them first.
 *
 * @throws {AuthError} `session_revoked` if all sessions of the user were ended since this sign-in
 * started
 */
export async function startSession(deps: SessionDeps, signIn: NewSession): Promise<LiveSession> {
  const { user, transport, caller } = signIn
  const userId = ledgerIdOf(user.id)
  const secret = randomSecret()
  const family = newFamily(deps, { ...signIn, userId }, secret)
  const by: EndedBy = { reason: 'session_limit', actorUserId: null, caller }
  const { begun, ended } = await oneAtATimePer(deps.sql, userId, async () => {
    const first = await retryOnConflict(() => beginFamily(deps.sql, family))
    if (first.outcome !== 'too_many_open') return { begun: mustHaveBegun(first), ended: [] }
    return inTransaction(deps.sql, async (tx) => {
      const { txid } = await lockUsers(tx, [userId])
      const madeRoom = await makeRoom(deps, tx, { userId, txid, by })
      const second = await beginFamily(tx, { ...family, maxOpen: null }, txid)
      return { begun: mustHaveBegun(second), ended: madeRoom }
    })
  })
  const { familyId, beganAt } = begun
  const authenticatedAt = Math.min(family.authenticatedAt ?? beganAt, beganAt)
  logRevocations(deps, ended, by)
  deps.logSecurityEvent({ event: 'session_started', familyId, userId, ip: caller.ip })
  const refreshRemainingMs = Math.min(family.idleMs, family.absoluteMs)
  return {
    familyId,
    userId,
    user,
    transport,
    token: createRefreshToken(deps.refreshKeys, familyId, secret),
    signedInAt: beganAt,
    authentication: { methods: signIn.methods, authenticatedAt },
    refreshExpiresAt: beganAt + refreshRemainingMs,
    refreshRemainingMs,
  }
}

function newFamily(
  { policy }: SessionDeps,
  signIn: NewSession & { readonly userId: string },
  secret: Buffer,
): NewFamily {
  const { userId, user, epoch, transport, deviceName, caller, methods } = signIn
  const { authenticatedAt = null } = signIn
  const { idleMs, absoluteMs, maxSessionsPerUser } = policy
  return {
    userId,
    subject: userId === user.id ? null : user.id,
    epoch,
    maxOpen: maxSessionsPerUser,
    randomId: createFamilyId(0),
    transport,
    deviceName,
    idleMs,
    absoluteMs,
    tokenHash: hashSecret({ secret }),
    caller,
    callerSalt: randomSalt(),
    methods,
    authenticatedAt,
  }
}

function mustHaveBegun(family: Begun): Extract<Begun, { outcome: 'begun' }> {
  if (family.outcome === 'begun') return family
  throw new AuthError('session_revoked', 'all sessions of the user were ended during the sign-in')
}

/** Ends the user's oldest sessions if the new one would exceed the limit (ASVS 5.0, 7.1.2). */
async function makeRoom(
  deps: SessionDeps,
  tx: Transaction,
  { userId, txid, by }: { userId: string; txid: string; by: EndedBy },
): Promise<LockedFamily[]> {
  const { maxSessionsPerUser } = deps.policy
  const open = await listOpenFamilies(tx, userId)
  await lockFamilies(tx, open)
  const { now, families } = await readFamilies(
    tx,
    open.map((familyId) => ({ familyId, generation: null })),
  )
  const active = [...families.values()].filter(({ events }) => isActive(foldFamily(events), now))
  const tooMany = active.slice(0, Math.max(0, active.length - maxSessionsPerUser + 1))
  return revokeLocked(tx, { txid, families: tooMany, by })
}
