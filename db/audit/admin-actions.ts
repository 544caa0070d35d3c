import type { Database } from '../connection/connect.ts'
import type { FencedTransaction } from '../connection/transaction.ts'

/** What an admin did, or the command line (`actorUserId` null). */
export type AdminAction = {
  readonly action:
    | 'user_created'
    | 'role_set'
    | 'user_disabled'
    | 'user_enabled'
    | 'user_erased'
    | 'session_revoked'
    | 'sessions_revoked'
    | 'ledger_archived'
  readonly actorUserId: string | null
  readonly targetUserId?: string | null
  readonly familyId?: string | null
  readonly role?: 'user' | 'admin'
  readonly reason?: string | null
}

/** Writes it down with what it did, or not at all. */
export async function insertAdminAction(
  { tx, txid }: FencedTransaction,
  done: AdminAction,
): Promise<void> {
  const written = await tx`
    insert into token_ledger.admin_action (actor_user_id, action, target_user_id, family_id, role, reason)
    select
      ${done.actorUserId}::uuid, ${done.action}, ${done.targetUserId ?? null}::uuid,
      ${done.familyId ?? null}::uuid, ${done.role ?? null}, ${done.reason ?? null}
    where pg_current_xact_id()::text = ${txid}`
  if (written.count !== 1) throw new Error('an admin action outside of its transaction')
}

export type AdminActionRow = {
  readonly occurredAt: number
  readonly actorUserId: string | null
  readonly actorEmail: string | null
  readonly action: AdminAction['action']
  readonly reason: string | null
}

/** What admins did to one session, alone or with all of its user's, oldest first. */
export async function listFamilyActions(
  { statements: sql }: Database,
  familyId: string,
): Promise<AdminActionRow[]> {
  return sql<AdminActionRow[]>`
    select
      (extract(epoch from occurred_at) * 1000)::float8 as "occurredAt",
      actor_user_id as "actorUserId", actor_email as "actorEmail", action, reason
    from token_audit.admin_actions a
    where a.family_id = ${familyId}::uuid
      or (
        a.action = 'sessions_revoked'
        and exists (
          select
          from token_audit.events e
          where e.family_id = ${familyId}::uuid
            and e.reason = 'admin_revoked'
            and e.user_id = a.target_user_id
            -- One transaction, by one clock: the session ends, then the act is written down.
            and a.occurred_at between e.occurred_at and e.occurred_at + interval '10 seconds'
        )
      )
    order by action_id`
}
