import type { Origin } from '../db/ledger.ts'
import { lockUser } from '../db/ledger.ts'
import { inTransaction } from '../db/transaction.ts'
import { endAllSessions, type EndDeps } from './sessions.ts'
import type { AccountStore } from './user-directory.ts'

type Deps = EndDeps & { readonly accounts: AccountStore }

/**
 * Lets the user in no more, and ends what there is, in one transaction.
 *
 * @returns how many sessions were ended
 */
export async function disableUser(
  deps: Deps,
  userId: string,
  by: { actorUserId: string | null; origin: Origin },
): Promise<number> {
  const ended = await endAllSessions(deps, userId, {
    by: { reason: 'user_disabled', ...by },
    alongside: (within) => deps.accounts.setDisabled(within, userId, true),
  })
  return ended ?? 0
}

export async function enableUser({ sql, accounts }: Deps, userId: string): Promise<void> {
  await inTransaction(sql, async (tx) => {
    const { txid } = await lockUser(tx, userId)
    await accounts.setDisabled({ tx, txid }, userId, false)
  })
}
