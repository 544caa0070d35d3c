import type postgres from 'postgres'
import type { LedgerEvent, Transport } from '../server/ledger/events.ts'
import { tellEnds } from './ended-families.ts'
import { toEvent, toRow, type EventRow } from './event-rows.ts'
import { instantParam } from './instant.ts'
import type { Transaction } from './transaction.ts'
import type { UserRow } from './users.ts'

/**
 * All SQL of the ledger's write path. It speaks in the events of `server/ledger`. What a transaction of
 * several statements writes is fenced by the id of the transaction that took the lock, and its count is
 * checked.
 */

export type FamilyRow = {
  readonly familyId: string
  readonly userId: string
  readonly transport: Transport
  readonly createdAt: number
}

/** Locks held in one transaction; `txid` is what every write of it must name. */
export type LockedFamilies = {
  readonly txid: string
  readonly families: ReadonlyMap<string, FamilyRow>
}

/** A family with the part of its history that decides, and who its user is now. */
export type FamilyState = FamilyRow & {
  /** From the event that made the current token on, oldest first. */
  readonly events: readonly LedgerEvent[]
  /** The hash of the secret of the generation asked for; null when there is no such generation. */
  readonly tokenHash: Buffer | null
  /** What our own table says of its user; null when that has none of this id. */
  readonly account: UserRow | null
}

/** Where a request came from: personal data, kept erasable. */
export type Origin = { readonly ip: string | null; readonly userAgent: string | null }

export type NewFamily = {
  readonly familyId: string
  readonly userId: string
  readonly transport: Transport
  readonly deviceName: string | null
  readonly createdAt: number
  readonly absoluteExpiresAt: number
}

export type Append = {
  readonly familyId: string
  readonly event: LedgerEvent
  readonly origin: Origin
  /** 16 random bytes; they make the hash of the origin unguessable. */
  readonly originSalt: Buffer
}

/** Locks the rows of these families, in the order of their ids, and waits for whoever holds one. */
export async function lockFamilies(
  tx: Transaction,
  familyIds: readonly string[],
): Promise<LockedFamilies> {
  const rows = await tx<(FamilyColumns & { txid: string })[]>`
    select
      pg_current_xact_id()::text as txid, family_id, user_id, transport,
      (extract(epoch from created_at) * 1000)::float8 as created_at
    from token_ledger.token_family
    where family_id = any(${familyIds as string[]}::uuid[])
    order by family_id
    for update`
  return {
    txid: rows[0]?.txid ?? '',
    families: new Map(rows.map((row) => [row.family_id, toFamily(row)])),
  }
}

/** A family, and the generation of the token that is presented; null when none is. */
export type Asked = { readonly familyId: string; readonly generation: number | null }

/**
 * The families as they are, and the time; unknown ones are missing. After a lock, call it in a statement
 * of its own: the locking one still sees what was there before it had waited.
 */
export async function readFamilies(
  sql: postgres.Sql | Transaction,
  asked: readonly Asked[],
): Promise<{ now: number; families: ReadonlyMap<string, FamilyState> }> {
  // Look-ups family by family: joined, a plan made while the ledger was small reads all of it for every
  // batch, and is kept while it grows.
  const rows = await sql<NewestRow[]>`
    select
      (extract(epoch from token_ledger.clock()) * 1000)::float8 as now,
      f.family_id, f.user_id as family_user_id, f.transport as family_transport,
      (extract(epoch from f.created_at) * 1000)::float8 as created_at,
      u.user_id as account_id, u.email, u.role, u.disabled_at,
      ${eventColumns(sql)}
    from unnest(${asked.map(({ familyId }) => familyId)}::uuid[]) as asked(family_id)
    cross join lateral (
      select *
      from token_ledger.token_family
      where family_id = asked.family_id
      offset 0
    ) f
    left join lateral (
      select *
      from token_ledger.user_account
      where user_id = f.user_id
      offset 0
    ) u on true
    cross join lateral (
      select *
      from token_ledger.token_event
      where family_id = asked.family_id
      order by seq desc
      limit 1
    ) e
    order by f.family_id`
  const newest = new Map(rows.map((row) => [row.family_id, row]))
  // Seldom: the newest event did not make the current token, or the token presented is another one.
  const more = asked.filter(({ familyId, generation }) => {
    const row = newest.get(familyId)
    return row !== undefined && !saysAll(row, generation)
  })
  const tails = more.length === 0 ? noTails : await readTails(sql, more)
  return {
    now: rows[0]?.now ?? 0,
    families: new Map(rows.map((row) => [row.family_id, toState(row, tails.get(row.family_id))])),
  }
}

function saysAll({ kind, generation }: NewestRow, asked: number | null): boolean {
  return (kind === 'issued' || kind === 'rotated') && (asked === null || asked === generation)
}

/** The part of a history that decides. */
type Tail = Pick<FamilyState, 'events' | 'tokenHash'>

const noTails: ReadonlyMap<string, Tail> = new Map()

async function readTails(
  sql: postgres.Sql | Transaction,
  asked: readonly Asked[],
): Promise<ReadonlyMap<string, Tail>> {
  const rows = await sql<(EventRow & { asked_hash: Buffer | null })[]>`
    select asked_token.token_hash as asked_hash, e.family_id, ${eventColumns(sql)}
    from unnest(${asked.map((a) => a.familyId)}::uuid[], ${asked.map((a) => a.generation)}::integer[])
      as asked(family_id, generation)
    cross join lateral (
      select seq
      from token_ledger.token_event
      where family_id = asked.family_id and kind in ('issued', 'rotated')
      order by seq desc
      limit 1
    ) made
    cross join lateral (
      select *
      from token_ledger.token_event
      where family_id = asked.family_id and seq >= made.seq
      offset 0
    ) e
    left join lateral (
      select token_hash
      from token_ledger.token_event
      where family_id = asked.family_id and generation = asked.generation and kind in ('issued', 'rotated')
      order by seq desc
      limit 1
    ) asked_token on true
    order by e.family_id, e.seq`
  const tails = new Map<string, { events: LedgerEvent[]; tokenHash: Buffer | null }>()
  for (const row of rows) {
    const tail = tails.get(row.family_id) ?? { events: [], tokenHash: row.asked_hash }
    tail.events.push(toEvent(row))
    tails.set(row.family_id, tail)
  }
  return tails
}

/** What `toEvent` reads, of an event `e`. */
const eventColumns = (sql: postgres.Sql | Transaction) => sql`
  e.seq, e.kind, e.generation,
  (extract(epoch from e.occurred_at) * 1000)::float8 as occurred_at,
  (extract(epoch from e.expires_at) * 1000)::float8 as expires_at,
  (extract(epoch from e.absolute_expires_at) * 1000)::float8 as absolute_expires_at,
  e.user_id, e.transport, e.token_hash, e.salt, e.attempt_hash, e.presented_generation, e.reason,
  e.actor_user_id`

/**
 * Appends one event each to families whose history still ends right before it, under their locks, in one
 * statement: it is all there or nothing of it, whatever becomes of the connection. No event may be an
 * end: nobody would be told.
 *
 * @returns the families that were appended to. The others were locked by somebody else, or had gone on:
 * read them again, decide again
 */
export async function appendUnlessChanged(
  sql: postgres.Sql,
  appends: readonly Append[],
): Promise<ReadonlySet<string>> {
  if (appends.length === 0) return new Set()
  const rows = await sql<{ family_id: string }[]>`
    select family_id
    from token_ledger.append_unless_changed(
      ${appends.map(({ familyId }) => familyId)}::uuid[], ${JSON.stringify(appends.map(toRow))}::json
    ) as family_id`
  return new Set(rows.map((row) => row.family_id))
}

/**
 * Appends one event each to families that `txid` has locked; of ends, every process is told when the
 * transaction commits.
 *
 * @throws {Error} when not every row was written: the transaction is not the one that locked
 */
export async function appendEvents(
  tx: Transaction,
  txid: string,
  appends: readonly Append[],
): Promise<void> {
  if (appends.length === 0) return
  const endedAt = appends.flatMap(({ event }) => (isEnd(event) ? [event.at] : []))
  // Sent at once: the commit may be sent right behind them.
  const telling = endedAt.length > 0 ? tellEnds(tx, Math.min(...endedAt)) : undefined
  const writing = tx`
    insert into token_ledger.token_event (
      family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id, transport,
      token_hash, salt, attempt_hash, presented_generation, reason, actor_user_id, ip, user_agent, origin_salt)
    select
      family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id, transport,
      token_hash, salt, attempt_hash, presented_generation, reason, actor_user_id, ip, user_agent, origin_salt
    from jsonb_to_recordset(${JSON.stringify(appends.map(toRow))}::jsonb) as e(
      family_id uuid, seq integer, kind text, generation integer, occurred_at timestamptz,
      expires_at timestamptz, absolute_expires_at timestamptz, user_id uuid, transport text,
      token_hash bytea, salt bytea, attempt_hash bytea, presented_generation integer, reason text,
      actor_user_id uuid, ip inet, user_agent text, origin_salt bytea)
    where pg_current_xact_id()::text = ${txid}`
  const [written] = await Promise.all([writing, telling])
  fence(written.count, appends.length)
}

function isEnd({ kind }: LedgerEvent): boolean {
  return kind === 'revoked' || kind === 'reuse_detected'
}

/** Writes the row of a new family; its `issued` event is appended in the same transaction. */
export async function insertFamily(
  tx: Transaction,
  txid: string,
  family: NewFamily,
): Promise<void> {
  const written = await tx`
    insert into token_ledger.token_family
      (family_id, user_id, transport, device_name, created_at, absolute_expires_at)
    select
      ${family.familyId}::uuid, ${family.userId}::uuid, ${family.transport}, ${family.deviceName},
      ${instantParam(family.createdAt)}::timestamptz, ${instantParam(family.absoluteExpiresAt)}::timestamptz
    where pg_current_xact_id()::text = ${txid}`
  fence(written.count, 1)
}

/**
 * Takes the user's turn: sign-ins and "end everything" of one user follow one another. Always before
 * any family.
 */
export async function lockUser(
  tx: Transaction,
  userId: string,
): Promise<{ txid: string; epoch: number; now: number }> {
  await tx`
    insert into token_ledger.user_epoch (user_id) values (${userId}::uuid)
    on conflict (user_id) do nothing`
  await tx`select from token_ledger.user_epoch where user_id = ${userId}::uuid for update`
  // A statement of its own again: the one that waited for the lock has an old snapshot.
  const [row] = await tx<{ txid: string; epoch: number; now: number }[]>`
    select
      pg_current_xact_id()::text as txid,
      epoch,
      (extract(epoch from token_ledger.clock()) * 1000)::float8 as now
    from token_ledger.user_epoch
    where user_id = ${userId}::uuid`
  if (row === undefined) throw new Error('the user row that was locked is gone')
  return row
}

/** The user's count of "end everything", which a sign-in reads first; 0 for who never signed in. */
export async function readEpoch(sql: postgres.Sql, userId: string): Promise<number> {
  const [row] = await sql<{ epoch: number }[]>`
    select epoch
    from token_ledger.user_epoch
    where user_id = ${userId}::uuid`
  return row?.epoch ?? 0
}

/** Makes every sign-in of the user that has begun, and not been written yet, void. */
export async function bumpEpoch(tx: Transaction, txid: string, userId: string): Promise<void> {
  const written = await tx`
    update token_ledger.user_epoch
    set epoch = epoch + 1
    where user_id = ${userId}::uuid and pg_current_xact_id()::text = ${txid}`
  fence(written.count, 1)
}

/** Families of the user that no time has ended yet; some of them may be over. Oldest first. */
export async function listOpenFamilies(tx: Transaction, userId: string): Promise<string[]> {
  const rows = await tx<{ family_id: string }[]>`
    select f.family_id
    from token_ledger.token_family f
    cross join lateral (
      select kind
      from token_ledger.token_event
      where family_id = f.family_id
      order by seq desc
      limit 1
    ) last
    where f.user_id = ${userId}::uuid
      and f.absolute_expires_at > token_ledger.clock()
      and last.kind not in ('revoked', 'reuse_detected')
    order by f.family_id`
  return rows.map((row) => row.family_id)
}

type FamilyColumns = {
  family_id: string
  user_id: string
  transport: Transport
  created_at: number
}

type NewestRow = EventRow & {
  now: number
  family_user_id: string
  family_transport: Transport
  created_at: number
  account_id: string | null
  email: string | null
  role: UserRow['role']
  disabled_at: string | null
}

function toFamily(row: FamilyColumns): FamilyRow {
  return {
    familyId: row.family_id,
    userId: row.user_id,
    transport: row.transport,
    createdAt: row.created_at,
  }
}

function toState(row: NewestRow, tail: Tail | undefined): FamilyState {
  const { account_id: userId, email, role, disabled_at: disabledAt } = row
  return {
    familyId: row.family_id,
    userId: row.family_user_id,
    transport: row.family_transport,
    createdAt: row.created_at,
    account: userId === null ? null : { userId, email, role, disabledAt },
    events: tail?.events ?? [toEvent(row)],
    tokenHash: tail === undefined ? row.token_hash : tail.tokenHash,
  }
}

function fence(written: number, expected: number): void {
  if (written !== expected)
    throw new Error(`${written} of ${expected} rows written: not in the transaction that locked`)
}
