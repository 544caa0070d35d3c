import type postgres from 'postgres'
import type { EventKind, ReplayReason, RevocationReason } from '../../server/ledger/events.ts'
import type { Statements } from '../connection/connect.ts'
import { epochMs, instantParam } from '../instant.ts'
import { methodsOf } from '../methods.ts'
import { nilUuid } from '../uuid.ts'

/** The place of an event in the ledger's order, which is by transaction, then family, then `seq`. */
export type Position = { readonly txid: string; readonly familyId: string; readonly seq: number }

/** An event without token hashes and salts. Instants are epoch milliseconds. */
export type ListedEvent = {
  readonly position: Position
  readonly familyId: string
  readonly seq: number
  readonly kind: EventKind
  readonly generation: number
  readonly presentedGeneration: number | null
  /** The subject, as is `actorUserId`. */
  readonly userId: string | null
  readonly email: string | null
  readonly occurredAt: number
  readonly expiresAt: number | null
  readonly reason: ReplayReason | RevocationReason | null
  readonly actorUserId: string | null
  readonly ip: string | null
  readonly userAgent: string | null
  readonly hash: string
  readonly methods: readonly string[] | null
  readonly authenticatedAt: number | null
}

export type EventFilter = {
  readonly kinds?: readonly EventKind[] | undefined
  readonly userId?: string | undefined
  readonly familyId?: string | undefined
  /** Epoch milliseconds; `fromAt` is included, `toAt` is not. */
  readonly fromAt?: number | undefined
  readonly toAt?: number | undefined
}

/** A page of events, newest first, older than `cursor`. */
export async function listEvents(
  { statements: sql }: Statements,
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
    ${subjects(sql)}
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

/** The newest `limit` events of a family, oldest first. */
export async function listFamilyEvents(
  { statements: sql }: Statements,
  familyId: string,
  limit: number,
): Promise<ListedEvent[]> {
  const rows = await sql<ListedEventRow[]>`
    select ${columns(sql)}
    from token_ledger.token_event e
    join token_ledger.token_family f on f.family_id = e.family_id
    left join token_ledger.user_account u on u.user_id = f.user_id
    ${subjects(sql)}
    where e.family_id = ${familyId}::uuid
    order by e.seq desc
    limit ${limit}`
  return rows.map(toListedEvent).toReversed()
}

/**
 * Events after `position`, in the ledger's order. Only events older than every running transaction: no commit
 * can add an event before those already read.
 */
export async function readForward(
  { statements: sql }: Statements,
  position: Position,
  limit: number,
): Promise<ListedEvent[]> {
  const rows = await sql<ListedEventRow[]>`
    select ${columns(sql)}
    from token_ledger.token_event e
    left join token_ledger.token_family f on f.family_id = e.family_id
    left join token_ledger.user_account u on u.user_id = f.user_id
    ${subjects(sql)}
    where (e.txid, e.family_id, e.seq) > ${positionRow(sql, position)}
      and e.txid < pg_snapshot_xmin(pg_current_snapshot())
    order by e.txid, e.family_id, e.seq
    limit ${limit}`
  return rows.map(toListedEvent)
}

/** The position that `readForward` returns all later events from, and none of the present ones. */
export async function readHorizon({ statements: sql }: Statements): Promise<Position> {
  const [row] = await sql<{ txid: string }[]>`
    select pg_snapshot_xmin(pg_current_snapshot())::text as txid`
  return { txid: row?.txid ?? '0', familyId: nilUuid, seq: 0 }
}

function columns(sql: postgres.Sql) {
  return sql`
    e.txid::text as txid, e.family_id, e.seq, e.kind, e.generation, e.presented_generation,
    coalesce(s.subject, f.user_id::text) as user_id, u.email,
    ${epochMs(sql, 'e.occurred_at')} as occurred_at,
    ${epochMs(sql, 'e.expires_at')} as expires_at,
    e.reason, coalesce(actor.subject, e.actor_user_id::text) as actor_user_id, host(e.ip) as ip, e.user_agent, encode(e.hash, 'hex') as hash,
    array_to_string(e.methods, ' ') as methods, ${epochMs(sql, 'e.authenticated_at')} as authenticated_at`
}

/** Names the user and the actor of an event. */
function subjects(sql: postgres.Sql) {
  return sql`
    left join token_ledger.user_subject s on s.user_id = f.user_id
    left join token_ledger.user_subject actor on actor.user_id = e.actor_user_id`
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
  methods: string | null
  authenticated_at: number | null
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
    methods: methodsOf(row.methods),
    authenticatedAt: row.authenticated_at,
  }
}
