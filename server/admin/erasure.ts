import { randomBytes } from 'node:crypto'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import { eraseTraces } from '../../db/ledger/erasure.ts'
import type { Caller } from '../../db/ledger/event-rows.ts'
import { eraseUserRow } from '../../db/users.ts'
import { endAllSessions, type EndDeps } from '../sessions/revocation.ts'
import type { AccountStore } from '../users/directory.ts'
import { rejectingLastAdmin } from './users.ts'

/**
 * Ends everything of a user and forgets who it was, in one transaction: e-mail, password, addresses, user
 * agents, device names. What happened stays, under an id that leads to nobody, and the ledger still verifies.
 *
 * @param deps.sql as the owner of the tables
 * @returns how many sessions were ended, and how many rows held something of the person
 * @throws {AuthError} `validation_failed` for the last admin; nothing was changed
 */
export async function eraseUser(
  deps: EndDeps & { readonly accounts: Pick<AccountStore, 'hashPassword'> },
  userId: string,
  { actorUserId, caller }: { actorUserId: string | null; caller: Caller },
): Promise<{ ended: number; erased: number }> {
  const nobodysPassword = await deps.accounts.hashPassword(randomBytes(32).toString('base64url'))
  let erased = 0
  const ended = await rejectingLastAdmin(() =>
    endAllSessions(deps, userId, {
      by: { reason: 'user_disabled', actorUserId, caller },
      inSameTransaction: async (within) => {
        await eraseUserRow(within, userId, nobodysPassword)
        erased = await eraseTraces(within, userId)
        await insertAdminAction(within, {
          action: 'user_erased',
          actorUserId,
          targetUserId: userId,
        })
      },
    }),
  )
  return { ended: ended ?? 0, erased }
}
