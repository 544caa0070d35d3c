import type { Transaction } from '../../db/connection/transaction.ts'
import { appendEnds } from '../../db/ledger/append.ts'
import type { Append, Caller, LockedFamily } from '../../db/ledger/event-rows.ts'
import { readFamilies, type FamilyState } from '../../db/ledger/families.ts'
import { bumpEpoch } from '../../db/ledger/locks.ts'
import { AuthError } from '../errors.ts'
import { decideRevocation, decideSignOut } from '../ledger/decide.ts'
import type { ReuseDetected, Revoked, Transport } from '../ledger/events.ts'
import { foldFamily } from '../ledger/family.ts'
import { hasHash, type RefreshToken } from '../tokens/refresh-token.ts'
import { inAct, type Locked } from './act.ts'
import { createQueueFor } from './group-commit.ts'
import { appendReuse, concernedByEnd, endedByReuse } from './reuse.ts'
import { logRevocations, newAppend, revokeLocked, type EndedBy } from './revocation.ts'
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

/** @returns the number of sessions ended */
export type SignOut = (request: SignOutRequest) => Promise<number>

/**
 * @returns `signOut`, which ends the session of a refresh token, as docs/reference/rotation.md decides a sign-out. A
 * token that is older than the direct predecessor is a reuse of its family instead.
 * @throws {AuthError} by `signOut`: `transport_mismatch`, `service_unavailable` when the queue is full,
 * `too_many_attempts` when the family has all its places in the queue
 */
export function createSignOut(deps: SessionDeps): SignOut {
  const queue = createQueueFor<Pending, Outcome>(deps.policy, {
    settle: (batch) => settle(deps, batch),
  })
  return async (request) => {
    const outcome = await queue.submit({ familyId: request.token.familyId, ...request })
    switch (outcome.kind) {
      case 'nothing':
        return 0
      case 'other_transport':
        if (!request.isOnly) return 0
        throw new AuthError('transport_mismatch', `a ${outcome.transport} family`)
      case 'ended':
        logRevocations(deps, [outcome.family], endedBy(request, outcome.family))
        return 1
      case 'needs_locks':
        return endUnderLocks(deps, request, outcome.userId)
    }
  }
}

type Pending = SignOutRequest & { readonly familyId: string }

type Outcome =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'other_transport'; readonly transport: Transport }
  | { readonly kind: 'ended'; readonly family: LockedFamily }
  /** A reuse, or all sessions of the user: decided again once everything is locked. */
  | { readonly kind: 'needs_locks'; readonly userId: string }

/** `append` is set for `ended`, which is true only once it is written. */
type Decided = { readonly outcome: Outcome; readonly append: Append<Revoked> | null }

/**
 * Reads the families, decides, appends. No lock is held in between: the append writes only where the history is still
 * the one that was read. Sign-outs that were overtaken by another write are missing from the result.
 */
async function settle(
  { sql }: SessionDeps,
  batch: readonly Pending[],
): Promise<ReadonlyMap<Pending, Outcome>> {
  const { now, families } = await readFamilies(
    sql,
    batch.map(({ token }) => token),
  )
  const decided = batch.map((pending) => ({
    pending,
    ...decideOne(pending, families.get(pending.familyId), now),
  }))
  const ended = await appendEnds(
    sql,
    decided.flatMap(({ append }) => append ?? []),
  )
  return new Map(
    decided.flatMap(({ pending, outcome, append }) =>
      append === null || ended.has(pending.familyId) ? [[pending, outcome]] : [],
    ),
  )
}

function decideOne(pending: Pending, row: FamilyState | undefined, now: number): Decided {
  if (row === undefined) return { outcome: { kind: 'nothing' }, append: null }
  if (row.transport !== pending.transport)
    return { outcome: { kind: 'other_transport', transport: row.transport }, append: null }
  const { family, decision, at } = judge(pending.token, row, now)
  if (decision === null) return { outcome: { kind: 'nothing' }, append: null }
  if (decision !== 'sign_out' || pending.everywhere)
    return { outcome: { kind: 'needs_locks', userId: row.userId }, append: null }
  const { reason, actorUserId, caller } = endedBy(pending, row)
  const event = decideRevocation(family, { reason, actorUserId, now: at })
  if (event === null) throw new Error('a session that may be signed out of is not active')
  return {
    outcome: { kind: 'ended', family: row },
    append: newAppend(row.familyId, event, caller),
  }
}

/** What the token may do to its family, and when. */
function judge(token: RefreshToken, row: FamilyState, now: number) {
  const family = foldFamily(row.events)
  const at = Math.max(now, family.lastAt)
  const presented = { generation: token.generation, isIssued: hasHash(token, row.tokenHash) }
  return { family, decision: decideSignOut(family, presented, at), at }
}

function endedBy({ everywhere, caller }: SignOutRequest, { userId }: LockedFamily): EndedBy {
  return { reason: everywhere ? 'logout_everywhere' : 'logout', actorUserId: userId, caller }
}

/** Ends what one token ends besides its own session. */
async function endUnderLocks(
  deps: SessionDeps,
  request: SignOutRequest,
  userId: string,
): Promise<number> {
  const { token, caller, everywhere } = request
  const { familyId } = token
  const ofUser = everywhere || deps.policy.reuseScope === 'user' ? userId : null
  const ended = await inAct(deps.sql, ofUser ?? familyId, {
    concerned: concernedByEnd(familyId, ofUser),
    work: (locked) => endLocked(deps, locked, request),
  })
  if (ended === null) return 0
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

/** Decides again, now that no rotation can come in between; null when nothing is left to end. */
async function endLocked(
  deps: SessionDeps,
  locked: Locked,
  request: SignOutRequest,
): Promise<Ended | null> {
  const { tx, txid } = locked
  const { token, caller, everywhere } = request
  const family = locked.families.get(token.familyId)
  const decision = await decideAgain(tx, token)
  if (decision === null || family === undefined) return null
  if (decision !== 'sign_out') {
    const others = await appendReuse(deps, locked, { family, event: decision, caller })
    return { isReuse: true, revoked: others, by: endedByReuse(caller) }
  }
  if (everywhere) await bumpEpoch(tx, txid, family.userId)
  const families = everywhere ? [...locked.families.values()] : [family]
  const by = endedBy(request, family)
  return { isReuse: false, revoked: await revokeLocked(tx, { txid, families, by }), by }
}

async function decideAgain(
  tx: Transaction,
  token: RefreshToken,
): Promise<'sign_out' | ReuseDetected | null> {
  const { now, families } = await readFamilies(tx, [token])
  const row = families.get(token.familyId)
  return row === undefined ? null : judge(token, row, now).decision
}
