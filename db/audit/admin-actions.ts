import type { Statements } from '../connection/connect.ts'
import { epochMs, instantParam } from '../instant.ts'
import type { adminActions } from '../schema.ts'
import type { FencedTransaction } from '../connection/transaction.ts'

/** An action of an admin, or of the command line (`actorUserId` null). */
export type AdminAction = {
  readonly action: (typeof adminActions)[number]
  readonly actorUserId: string | null
  readonly targetUserId?: string | null
  readonly familyId?: string | null
  readonly role?: 'user' | 'admin'
  readonly reason?: string | null
}

/** Records the action in the transaction that carries it out. */
export async function insertAdminAction(
  { tx, txid }: FencedTransaction,
  action: AdminAction,
): Promise<void> {
  const written = await tx`
    insert into token_ledger.admin_action (actor_user_id, action, target_user_id, family_id, role, reason)
    select
      ${action.actorUserId}::uuid, ${action.action}, ${action.targetUserId ?? null}::uuid,
      ${action.familyId ?? null}::uuid, ${action.role ?? null}, ${action.reason ?? null}
    where pg_current_xact_id()::text = ${txid}`
  if (written.count !== 1) throw new Error('the admin action was not written in its transaction')
}

export type AdminActionRow = {
  readonly occurredAt: number
  /** The subject, as is `targetUserId`. */
  readonly actorUserId: string | null
  readonly actorEmail: string | null
  readonly action: AdminAction['action']
  readonly reason: string | null
}

/** Admin actions on one session: on itself, on all sessions of its user, or on all sessions. Oldest first. */
export async function listFamilyActions(
  { statements: sql }: Statements,
  familyId: string,
): Promise<AdminActionRow[]> {
  return sql<AdminActionRow[]>`
    select
      ${epochMs(sql, 'occurred_at')} as "occurredAt",
      actor_subject as "actorUserId", actor_email as "actorEmail", action, reason
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
            -- Both are written in one transaction: first the end of the session, then the action.
            and a.occurred_at between e.occurred_at and e.occurred_at + interval '10 seconds'
        )
      )
      or (
        a.action = 'ledger_restored'
        and exists (
          select
          from token_audit.events e
          where e.family_id = ${familyId}::uuid
            and e.reason = 'admin_revoked'
            and e.actor_user_id is null
            -- In one transaction as well, which ends all sessions before it records the action.
            and a.occurred_at between e.occurred_at and e.occurred_at + interval '1 hour'
        )
      )
    order by action_id`
}

export type ListedAction = AdminActionRow & {
  readonly actionId: number
  readonly targetUserId: string | null
  readonly targetEmail: string | null
  readonly familyId: string | null
  readonly role: 'user' | 'admin' | null
}

export type ActionFilter = {
  readonly actions?: readonly AdminAction['action'][] | undefined
  readonly actorUserId?: string | undefined
  readonly targetUserId?: string | undefined
  readonly fromAt?: number | undefined
  readonly toAt?: number | undefined
}

/** A page of what admins and the command line did, newest first, older than the action `cursor`. */
export async function listAdminActions(
  { statements: sql }: Statements,
  { actions, actorUserId, targetUserId, fromAt, toAt }: ActionFilter,
  { cursor, limit }: { cursor?: number | undefined; limit: number },
): Promise<ListedAction[]> {
  return sql<ListedAction[]>`
    select
      action_id::float8 as "actionId",
      ${epochMs(sql, 'occurred_at')} as "occurredAt",
      actor_subject as "actorUserId", actor_email as "actorEmail", action,
      target_subject as "targetUserId", target_email as "targetEmail",
      family_id as "familyId", role, reason
    from token_audit.admin_actions
    where true
      ${actions === undefined ? sql`` : sql`and action = any(${actions as string[]})`}
      ${actorUserId === undefined ? sql`` : sql`and actor_user_id = ${actorUserId}::uuid`}
      ${targetUserId === undefined ? sql`` : sql`and target_user_id = ${targetUserId}::uuid`}
      ${fromAt === undefined ? sql`` : sql`and occurred_at >= ${instantParam(fromAt)}::timestamptz`}
      ${toAt === undefined ? sql`` : sql`and occurred_at < ${instantParam(toAt)}::timestamptz`}
      ${cursor === undefined ? sql`` : sql`and action_id < ${cursor}::bigint`}
    order by action_id desc
    limit ${limit}`
}
