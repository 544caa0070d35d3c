import { randomBytes } from 'node:crypto'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import { isLastAdmin } from '../../db/connection/errors.ts'
import type { Caller } from '../../db/ledger/event-rows.ts'
import { keepSubject, ledgerIdOf } from '../../db/subjects.ts'
import { AuthError } from '../errors.ts'
import { type Actor, inAct, lockForAct } from '../sessions/act.ts'
import { endAllSessions, type EndDeps } from '../sessions/revocation.ts'
import type { AccountStore, Role, User } from '../users/directory.ts'

/* Users are named by their subjects here, as the account store has them. */

type UserAdminDeps = EndDeps & { readonly accounts: AccountStore }

/** Who changes a user: an admin, or the command line (null). */
type By = { readonly actorUserId: string | null; readonly actor?: Actor }

/**
 * Creates a user and records the act, in one transaction.
 *
 * @throws {AuthError} `email_taken`
 */
export async function createUser(
  accounts: Pick<AccountStore, 'create'>,
  account: { email: string; password: string; role: Role },
  { actorUserId, actor }: By,
): Promise<User> {
  return accounts.create(account, async (transaction, user) => {
    // The actor may have lost the role while the password was being hashed.
    await lockForAct(transaction.tx, { actor })
    await insertAdminAction(transaction, {
      action: 'user_created',
      actorUserId,
      targetUserId: await keepSubject(transaction, user.id),
      role: user.role,
    })
  })
}

/** A random password for a new account: 144 bits, to be shown once. */
export function newPassword(): string {
  return randomBytes(18).toString('base64url')
}

/**
 * Blocks sign-in and ends all sessions of the user, in one transaction.
 *
 * @returns how many sessions were ended
 * @throws {AuthError} `validation_failed` for the last admin; nothing was changed
 */
export async function disableUser(
  deps: UserAdminDeps,
  userId: string,
  by: By & { readonly caller: Caller },
): Promise<number> {
  return rejectingLastAdmin(() =>
    endAllSessions(deps, ledgerIdOf(userId), {
      by: { ...by, reason: 'user_disabled' },
      inSameTransaction: async (transaction) => {
        await deps.accounts.setDisabled(transaction, userId, true)
        await insertAdminAction(transaction, {
          action: 'user_disabled',
          actorUserId: by.actorUserId,
          targetUserId: await keepSubject(transaction, userId),
        })
      },
    }),
  )
}

export async function enableUser(
  deps: UserAdminDeps,
  userId: string,
  { actorUserId, actor }: By,
): Promise<void> {
  const id = ledgerIdOf(userId)
  await inAct(deps.sql, id, {
    concerned: { actor, users: [id] },
    async work(transaction) {
      await deps.accounts.setDisabled(transaction, userId, false)
      await insertAdminAction(transaction, {
        action: 'user_enabled',
        actorUserId,
        targetUserId: await keepSubject(transaction, userId),
      })
    },
  })
}

/** @throws {AuthError} `validation_failed` for the last admin; nothing was changed */
export async function setRole(
  deps: UserAdminDeps,
  change: { userId: string; role: Role },
  { actorUserId, actor }: By,
): Promise<void> {
  const { userId, role } = change
  const id = ledgerIdOf(userId)
  await rejectingLastAdmin(() =>
    inAct(deps.sql, id, {
      concerned: { actor, users: [id] },
      async work(transaction) {
        await deps.accounts.setRole(transaction, userId, role)
        await insertAdminAction(transaction, {
          action: 'role_set',
          actorUserId,
          targetUserId: await keepSubject(transaction, userId),
          role,
        })
      },
    }),
  )
}

/** The database refuses to lose its last admin, without whom no other could be made. */
export async function rejectingLastAdmin<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!isLastAdmin(error)) throw error
    throw new AuthError('validation_failed', 'the last admin', {
      problem: 'This is the last admin. Make another user an admin first.',
    })
  }
}
