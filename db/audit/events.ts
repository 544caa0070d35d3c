import type postgres from 'postgres'
import type { EventKind, ReplayReason, RevocationReason } from '../../server/ledger/events.ts'
import { instantParam } from '../instant.ts'

/** Where an event stands in the ledger: `<txid>:<familyId>:<seq>`. Events are read in this order. */
export type Position = { readonly txid: string; readonly familyId: string; readonly seq: number }

/** An event as people may see it: no token hash, no salt. */
export type ListedEvent = {
  readonly position: Position
  readonly familyId: string
  readonly seq: number
  readonly kind: EventKind
  readonly generation: number
  readonly presentedGeneration: number | null
  readonly userId: string | null
  readonly email: string | null
  readonly occurredAt: number
  readonly expiresAt: number | null
  readonly reason: ReplayReason | RevocationReason | null
  readonly actorUserId: string | null
  readonly ip: string | null
  readonly userAgent: string | null
  readonly hash: string
}

export type EventFilter = {
  readonly kinds?: readonly EventKind[] | undefined
  readonly userId?: string | undefined
  readonly familyId?: string | undefined
  /** Epoch milliseconds, from included, to not. */
  readonly fromAt?: number | undefined
  readonly toAt?: number | undefined
}

/** A page of events, newest first, before `cursor`. */
export async function listEvents(
  sql: postgres.Sql,
  filter: EventFilter,
  page: { cursor?: Position | undefined; limit: number },
): Promise<ListedEvent[]> {
  const { kinds, userId, familyId, fromAt, toAt } = filter
  const { cursor, limit } = page
  const rows = await sql<ListedEventRow[]>`
    select ${columns(sql)}
    from token_ledger.token_event e
    join token_ledger.token_family f on f.family_id = e.family_id
    left join token_ledger.user_account u on u.user_id = f.user_id
    where true
      ${kinds === undefined ? sql`` : sql`and e.kind = any(${kinds as string[]})`}
      ${userId === undefined ? sql`` : sql`and f.user_id = ${userId}::uuid`}
      ${familyId === undefined ? sql`` : sql`and e.family_id = ${familyId}::uuid`}
      ${fromAt === undefined ? sql`` : sql`and e.occurred_at >= ${instantParam(fromAt)}::timestamptz`}
      ${toAt === undefined ? sql`` : sql`and e.occurred_at < ${instantParam(toAt)}::timestamptz`}
      ${cursor === undefined ? sql`` : sql`and (e.txid, e.family_id, e.seq) < ${positionRow(sql, cursor)}`}
    order by e.txid desc, e.family_id desc, e.seq desc
    limit ${limit}`
  return rows.map(toListedEvent)
}

/** A family's newest events, oldest first. */
export async function listFamilyEvents(
  sql: postgres.Sql,
  familyId: string,
  limit: number,
): Promise<ListedEvent[]> {
  const rows = await sql<ListedEventRow[]>`
    select ${columns(sql)}
    from token_ledger.token_event e
    join token_ledger.token_family f on f.family_id = e.family_id
    left join token_ledger.user_account u on u.user_id = f.user_id
    where e.family_id = ${familyId}::uuid
    order by e.seq desc
    limit ${limit}`
  return rows.map(toListedEvent).toReversed()
}

/**
 * Events after `position`, in the ledger's order. Only what is final: no transaction that is still
 * under way can put anything before what has been read.
 */
export async function readForward(
  sql: postgres.Sql,
  position: Position,
  limit: number,
): Promise<ListedEvent[]> {
  const rows = await sql<ListedEventRow[]>`
    select ${columns(sql)}
    from token_ledger.token_event e
    left join token_ledger.token_family f on f.family_id = e.family_id
    left join token_ledger.user_account u on u.user_id = f.user_id
    where (e.txid, e.family_id, e.seq) > ${positionRow(sql, position)}
      and e.txid < pg_snapshot_xmin(pg_current_snapshot())
    order by e.txid, e.family_id, e.seq
    limit ${limit}`
  return rows.map(toListedEvent)
}

/** The position from which on everything is still to come. */
export async function readHorizon(sql: postgres.Sql): Promise<Position> {
  const [row] = await sql<{ txid: string }[]>`
    select pg_snapshot_xmin(pg_current_snapshot())::text as txid`
  return { txid: row?.txid ?? '0', familyId: '00000000-0000-0000-0000-000000000000', seq: 0 }
}

function columns(sql: postgres.Sql) {
  return sql`
    e.txid::text as txid, e.family_id, e.seq, e.kind, e.generation, e.presented_generation, f.user_id, u.email,
    (extract(epoch from e.occurred_at) * 1000)::float8 as occurred_at,
    (extract(epoch from e.expires_at) * 1000)::float8 as expires_at,
    e.reason, e.actor_user_id, host(e.ip) as ip, e.user_agent, encode(e.hash, 'hex') as hash`
}

function positionRow(sql: postgres.Sql, { txid, familyId, seq }: Position) {
  return sql`(${txid}::xid8, ${familyId}::uuid, ${seq}::integer)`
}

type ListedEventRow = {
  txid: string
  family_id: string
  seq: number
  kind: EventKind
  generation: number
  presented_generation: number | null
  user_id: string | null
  email: string | null
  occurred_at: number
  expires_at: number | null
  reason: ReplayReason | RevocationReason | null
  actor_user_id: string | null
  ip: string | null
  user_agent: string | null
  hash: string
}

function toListedEvent(row: ListedEventRow): ListedEvent {
  return {
    position: { txid: row.txid, familyId: row.family_id, seq: row.seq },
    familyId: row.family_id,
    seq: row.seq,
    kind: row.kind,
    generation: row.generation,
    presentedGeneration: row.presented_generation,
    userId: row.user_id,
    email: row.email,
    occurredAt: row.occurred_at,
    expiresAt: row.expires_at,
    reason: row.reason,
    actorUserId: row.actor_user_id,
    ip: row.ip,
    userAgent: row.user_agent,
    hash: row.hash,
  }
}
