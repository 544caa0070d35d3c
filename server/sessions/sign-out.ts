import type postgres from 'postgres'
import type { Transaction } from '../../db/connection/transaction.ts'
import type { Caller, LockedFamily } from '../../db/ledger/event-rows.ts'
import { readFamilies } from '../../db/ledger/families.ts'
import { bumpEpoch } from '../../db/ledger/locks.ts'
import { AuthError } from '../errors.ts'
import { decideSignOut } from '../ledger/decide.ts'
import type { Transport } from '../ledger/events.ts'
import { foldFamily } from '../ledger/family.ts'
import { hasHash, type RefreshToken } from '../tokens/refresh-token.ts'
import { inAct, type Locked } from './act.ts'
import { appendReuse, concernedByEnd, endedByReuse } from './reuse.ts'
import { logRevocations, revokeLocked, type EndedBy } from './revocation.ts'
import type { SessionDeps } from './session.ts'

export type SignOutRequest = {
  readonly token: RefreshToken
  readonly transport: Transport
  readonly caller: Caller
  /** End the user's other sessions as well. Ignored for a token that is a reuse. */
  readonly everywhere: boolean
  /**
   * False for one of several cookies: another host of the site may have put its own token of a body session into a
   * cookie beside the user's. It then ends nothing.
   */
  readonly isOnly: boolean
}

/**
 * Ends the session of a refresh token, as docs/reference/rotation.md decides a sign-out. A token that is older than
 * the direct predecessor is a reuse of its family instead.
 *
 * @returns the number of sessions ended
 * @throws {AuthError} `transport_mismatch`
 */
export async function signOut(deps: SessionDeps, request: SignOutRequest): Promise<number> {
  const { token, transport, caller, everywhere, isOnly } = request
  const known = await readPresented(deps.sql, token)
  if (known === null) return 0
  if (known.transport !== transport) {
    if (!isOnly) return 0
    throw new AuthError('transport_mismatch', `a ${known.transport} family`)
  }
  // A session that is over stays over, so no lock is needed.
  if (known.decision === null) return 0

  const { familyId } = token
  const { userId } = known
  const ofUser = everywhere || deps.policy.reuseScope === 'user' ? userId : null
  const ended = await inAct(deps.sql, ofUser ?? familyId, {
    concerned: concernedByEnd(familyId, ofUser),
    work: (locked) => endLocked(deps, locked, request),
  })
  if (ended.isReuse)
    deps.logSecurityEvent({ event: 'reuse_detected', familyId, userId, ip: caller.ip })
  logRevocations(deps, ended.revoked, ended.by)
  return ended.revoked.length + (ended.isReuse ? 1 : 0)
}

/** What was ended: the `revoked` families, and with a reuse the family of the token. */
type Ended = {
  readonly isReuse: boolean
  readonly revoked: readonly LockedFamily[]
  readonly by: EndedBy
}

/** Decides again, now that no rotation can come in between, and ends what the token may end. */
async function endLocked(
  deps: SessionDeps,
  locked: Locked,
  { token, caller, everywhere }: SignOutRequest,
): Promise<Ended> {
  const { tx, txid } = locked
  const decision = (await readPresented(tx, token))?.decision ?? null
  const family = locked.families.get(token.familyId)
  const reason = everywhere ? 'logout_everywhere' : 'logout'
  const by: EndedBy = { reason, actorUserId: family?.userId ?? null, caller }
  if (decision === null || family === undefined) return { isReuse: false, revoked: [], by }
  if (decision !== 'sign_out') {
    const others = await appendReuse(deps, locked, { family, event: decision, caller })
    return { isReuse: true, revoked: others, by: endedByReuse(caller) }
  }
  if (everywhere) await bumpEpoch(tx, txid, family.userId)
  const families = everywhere ? [...locked.families.values()] : [family]
  return {
    isReuse: false,
    revoked: await revokeLocked(tx, { txid, families, by }),
    by,
  }
}

type Presented = {
  readonly userId: string
  readonly transport: Transport
  readonly decision: ReturnType<typeof decideSignOut>
}

/** The family of the token, and what the token may do to it; null for an unknown family. */
async function readPresented(
  sql: postgres.Sql | Transaction,
  token: RefreshToken,
): Promise<Presented | null> {
  const { now, families } = await readFamilies(sql, [token])
  const row = families.get(token.familyId)
  if (row === undefined) return null
  const family = foldFamily(row.events)
  const presented = {
    generation: token.generation,
    isIssued: hasHash(token, row.tokenHash),
  }
  const decision = decideSignOut(family, presented, Math.max(now, family.lastAt))
  return { userId: row.userId, transport: row.transport, decision }
}
