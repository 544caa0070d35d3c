import { randomBytes } from 'node:crypto'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import { eraseTraces } from '../../db/ledger/erasure.ts'
import type { Caller } from '../../db/ledger/event-rows.ts'
import { ledgerIdOf } from '../../db/subjects.ts'
import { eraseUserRow } from '../../db/users.ts'
import { endAllSessions, type EndDeps } from '../sessions/revocation.ts'
import type { AccountStore } from '../users/directory.ts'
import { rejectingLastAdmin } from './users.ts'

/**
 * Ends all sessions of a user and erases the personal data, in one transaction: e-mail, password, IP
 * addresses, user agents, device names, and the subject if the ledger's id is derived from it. The events stay, and the
 * ledger still verifies.
 *
 * @param deps.sql as the owner of the tables
 * @returns how many sessions were ended, and how many rows held personal data
 * @throws {AuthError} `validation_failed` for the last admin; nothing was changed
 */
export async function eraseUser(
  deps: EndDeps & { readonly accounts: Pick<AccountStore, 'hashPassword'> },
  subject: string,
  { actorUserId, caller }: { actorUserId: string | null; caller: Caller },
): Promise<{ ended: number; erased: number }> {
  const unknownPassword = randomBytes(32).toString('base64url')
  const passwordHash = await deps.accounts.hashPassword(unknownPassword)
  const userId = ledgerIdOf(subject)
  let erased = 0
  const ended = await rejectingLastAdmin(() =>
    endAllSessions(deps, userId, {
      by: { reason: 'user_disabled', actorUserId, caller },
      inSameTransaction: async (transaction) => {
        await eraseUserRow(transaction, userId, passwordHash)
        erased = await eraseTraces(transaction, userId)
        await insertAdminAction(transaction, {
          action: 'user_erased',
          actorUserId,
          targetUserId: userId,
        })
      },
    }),
  )
  return { ended, erased }
}
