import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import { inTransaction, type Transaction } from '../../db/connection/transaction.ts'
import { beginIncarnation, lockIncarnation } from '../../db/incarnation.ts'
import type { LockedFamily } from '../../db/ledger/event-rows.ts'
import { bumpAllEpochs, listAllOpenFamilies } from '../../db/ledger/everyone.ts'
import { lockFamilies } from '../../db/ledger/locks.ts'
import { logRevocations, revokeLocked, type EndDeps, type EndedBy } from '../sessions/revocation.ts'
import type { Secrets } from '../tokens/key-seal.ts'
import { replaceSigningKeysIn } from '../tokens/key-changes.ts'

/** Families that are read and ended by one statement. */
const batchSize = 500

/** What was ended. */
export type Restored = { readonly sessions: number; readonly users: number; readonly kid: string }

type RestoredAct = { readonly copyOf: number; readonly by: Omit<EndedBy, 'reason'> }

/**
 * For a database that was restored from a copy of `copyOf`: ends every session and replaces all signing keys, because
 * the copy cannot know which of them were ended since, and begins a new incarnation. All in one transaction, with the
 * record of it.
 *
 * Sessions that began after the copy was restored end as well: passwords of before are valid in it.
 *
 * @throws {Error} if `copyOf` has not come yet, or the secrets decrypt no signing key; nothing was changed
 */
export async function endWhatCopyCannotKnow(
  deps: EndDeps,
  secrets: Secrets,
  { copyOf, by }: RestoredAct,
): Promise<Restored> {
  const endedBy: EndedBy = { ...by, reason: 'admin_revoked' }
  const { families: ended, ...restored } = await inTransaction(deps.sql, async (tx) => {
    const fencedTx = await lockPast(tx, copyOf)
    await bumpAllEpochs(fencedTx)
    const families = await endEverySession(tx, fencedTx.txid, endedBy)
    const sessions = families.length
    const users = new Set(families.map(({ userId }) => userId)).size
    const kid = await replaceSigningKeysIn(tx, secrets)
    await beginIncarnation(fencedTx, copyOf)
    await insertAdminAction(fencedTx, {
      action: 'ledger_restored',
      actorUserId: by.actorUserId,
      reason: `copy of ${textOf(copyOf)}: ended ${sessions} sessions of ${users} users; all signing keys replaced by ${kid}`,
    })
    return { families, sessions, users, kid }
  })
  logRevocations(deps, ended, endedBy)
  return restored
}

/**
 * For a database that only looks like a restored copy, such as after a failover that lost nothing of weight: ends
 * nothing, begins a new incarnation and records it, so that processes no longer report the copy.
 *
 * @throws {Error} if `copyOf` has not come yet
 */
export async function keepCopyAsItIs(
  { sql }: Pick<EndDeps, 'sql'>,
  { copyOf, by }: RestoredAct,
): Promise<void> {
  await inTransaction(sql, async (tx) => {
    const fencedTx = await lockPast(tx, copyOf)
    await beginIncarnation(fencedTx, copyOf)
    await insertAdminAction(fencedTx, {
      action: 'ledger_restored',
      actorUserId: by.actorUserId,
      reason: `copy of ${textOf(copyOf)}: kept as it is, nothing was ended`,
    })
  })
}

async function lockPast(tx: Transaction, copyOf: number) {
  const fencedTx = await lockIncarnation(tx)
  if (copyOf > fencedTx.now) throw new Error(`--at: ${textOf(copyOf)} has not come yet`)
  return fencedTx
}

async function endEverySession(
  tx: Transaction,
  txid: string,
  by: EndedBy,
): Promise<LockedFamily[]> {
  const ended: LockedFamily[] = []
  for (let after: string | null = null; ;) {
    const ids: string[] = await listAllOpenFamilies(tx, { after, limit: batchSize })
    const { families } = await lockFamilies(tx, ids)
    ended.push(...(await revokeLocked(tx, { txid, families: [...families.values()], by })))
    after = ids.at(-1) ?? null
    if (after === null) return ended
  }
}

function textOf(at: number): string {
  return new Date(at).toISOString()
}
