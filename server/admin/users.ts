import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import { lockUser } from '../../db/ledger/locks.ts'
import type { Caller } from '../../db/ledger/event-rows.ts'
import { inTransactionPer } from '../../db/connection/transaction.ts'
import { isLastAdmin } from '../../db/connection/errors.ts'
import { AuthError } from '../errors.ts'
import { endAllSessions, type EndDeps } from '../sessions/revocation.ts'
import type { AccountStore, Role } from '../users/directory.ts'

type UserAdminDeps = EndDeps & { readonly accounts: AccountStore }

/** Who changes a user: an admin, or the command line (null). */
type By = { readonly actorUserId: string | null }

/**
 * Lets the user in no more, and ends what there is, in one transaction.
 *
 * @returns how many sessions were ended
 * @throws {AuthError} `validation_failed` for the last admin; nothing was changed
 */
export async function disableUser(
  deps: UserAdminDeps,
  userId: string,
  { actorUserId, caller }: By & { caller: Caller },
): Promise<number> {
  const ended = await rejectingLastAdmin(() =>
    endAllSessions(deps, userId, {
      by: { reason: 'user_disabled', actorUserId, caller },
      inSameTransaction: async (within) => {
        await deps.accounts.setDisabled(within, userId, true)
        await insertAdminAction(within, {
          action: 'user_disabled',
          actorUserId,
          targetUserId: userId,
        })
      },
    }),
  )
  return ended ?? 0
}

export async function enableUser(
  deps: UserAdminDeps,
  userId: string,
  { actorUserId }: By,
): Promise<void> {
  await inTransactionPer(deps.sql, userId, async (tx) => {
    const within = { tx, txid: (await lockUser(tx, userId)).txid }
    await deps.accounts.setDisabled(within, userId, false)
    await insertAdminAction(within, { action: 'user_enabled', actorUserId, targetUserId: userId })
  })
}

/** @throws {AuthError} `validation_failed` for the last admin; nothing was changed */
export async function setRole(
  deps: UserAdminDeps,
  change: { userId: string; role: Role },
  { actorUserId }: By,
): Promise<void> {
  const { userId, role } = change
  await rejectingLastAdmin(() =>
    inTransactionPer(deps.sql, userId, async (tx) => {
      const within = { tx, txid: (await lockUser(tx, userId)).txid }
      await deps.accounts.setRole(within, userId, role)
      await insertAdminAction(within, {
        action: 'role_set',
        actorUserId,
        targetUserId: userId,
        role,
      })
    }),
  )
}

/** Somebody must be able to undo it: the database refuses to lose its last admin. */
export async function rejectingLastAdmin<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!isLastAdmin(error)) throw error
    const problem = 'This is the last admin. Make another user an admin first.'
    throw new AuthError('validation_failed', 'the last admin', { problem })
  }
}
