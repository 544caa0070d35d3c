import type postgres from 'postgres'
import type { Database } from './connection/connect.ts'
import {
  fenced,
  inTransaction,
  type FencedTransaction,
  type Transaction,
} from './connection/transaction.ts'
import { epochMs, instantParam } from './instant.ts'

/** Where a database stands in its history. Instants are epoch milliseconds of the database's clock. */
export type Incarnation = {
  readonly now: number
  /** Identifies the ledger, in all copies of its database. */
  readonly ledgerId: string
  readonly incarnationId: string
  /** All incarnations of this database, the current one included. */
  readonly incarnationIds: readonly string[]
  /** If a process has noticed that the database is a restored copy: when the copy was in use last. */
  readonly noticedCopyOf: number | null
}

/** What a process remembers of a database that it used. */
export type LastSeen = Pick<Incarnation, 'ledgerId' | 'incarnationId'> & {
  readonly markId: string
  readonly seenAt: number
}

/** Marks older than this are deleted, and what a process remembers from before is not compared. */
export const keepMarksMs = 90 * 24 * 3_600_000

/** Reads where the database stands; the first process begins its first incarnation. */
export async function readIncarnation({
  statements,
  transactions,
}: Database): Promise<Incarnation> {
  const found = await findIncarnation(statements)
  if (found !== null) return found
  return inTransaction(transactions, async (tx) => {
    const fencedTx = await lockIncarnation(tx)
    const madeByAnother = await findIncarnation(tx)
    if (madeByAnother !== null) return madeByAnother
    await beginIncarnation(fencedTx, null)
    const first = await findIncarnation(tx)
    if (first === null) throw new Error('the first incarnation is missing')
    return first
  })
}

/** Makes this transaction the only one that begins an incarnation, and reads the time (epoch milliseconds). */
export async function lockIncarnation(
  tx: Transaction,
): Promise<FencedTransaction & { readonly now: number }> {
  await tx`select token_ledger.take_turn('incarnation')`
  const [row] = await tx<{ now: number }[]>`
    select ${epochMs(tx, 'token_ledger.clock()')} as now`
  return { ...(await fenced(tx)), now: row?.now ?? 0 }
}

/** @param copyOf the moment of the copy that the database was restored from */
export async function beginIncarnation(
  { tx, txid }: FencedTransaction,
  copyOf: number | null,
): Promise<void> {
  const written = await tx`
    insert into token_ledger.incarnation (copy_of)
    select ${instantParam(copyOf)}::timestamptz
    where pg_current_xact_id()::text = ${txid}`
  if (written.count !== 1) throw new Error('the incarnation was not written in its transaction')
}

/** Records that the database is a restored copy, so that each process says so from now on. */
export async function recordCopy(
  { statements }: Database,
  incarnationId: string,
  copyOf: number,
): Promise<void> {
  await statements`
    update token_ledger.incarnation
    set noticed_copy_of = ${instantParam(copyOf)}::timestamptz
    where incarnation_id = ${incarnationId}::uuid and noticed_copy_of is null`
}

/** When the database was last in use, before `beforeAt` if it is given; null if it has no such mark. */
export async function lastUseOf(
  { statements: sql }: Database,
  beforeAt: number | null,
): Promise<number | null> {
  const [row] = await sql<{ last: number | null }[]>`
    select ${epochMs(sql, 'max(seen_at)')} as last
    from token_ledger.process_mark
    where seen_at < coalesce(${instantParam(beforeAt)}::timestamptz, 'infinity')`
  return row?.last ?? null
}

/** When the process with this mark last saw the database; null if the database does not know the mark. */
export async function readMark(
  { statements: sql }: Database,
  markId: string,
): Promise<number | null> {
  const [row] = await sql<{ seen_at: number }[]>`
    select ${epochMs(sql, 'seen_at')} as seen_at
    from token_ledger.process_mark
    where mark_id = ${markId}::uuid`
  return row?.seen_at ?? null
}

/** What a process says of itself with its mark, for people. */
export type ProcessState = {
  readonly version: string | null
  /** Epoch milliseconds. */
  readonly startedAt: number
  readonly lagMs: number
}

/** @returns the time of the mark, which never goes back */
export async function markUse(
  { statements: sql }: Database,
  markId: string,
  { version, startedAt, lagMs }: ProcessState,
): Promise<number> {
  const [row] = await sql<{ seen_at: number }[]>`
    insert into token_ledger.process_mark as m (mark_id, version, started_at, lag_ms)
    values (${markId}::uuid, ${version}, ${instantParam(startedAt)}::timestamptz, ${lagMs}::integer)
    on conflict (mark_id) do update
    set seen_at = greatest(m.seen_at, excluded.seen_at), lag_ms = excluded.lag_ms
    returning ${epochMs(sql, 'seen_at')} as seen_at`
  if (row === undefined) throw new Error('the mark of this process was not written')
  return row.seen_at
}

export async function deleteOldMarks({ statements }: Database): Promise<void> {
  await statements`
    delete from token_ledger.process_mark
    where seen_at < token_ledger.clock() - ${keepMarksMs}::float8 * interval '1 millisecond'`
}

async function findIncarnation(sql: postgres.Sql | Transaction): Promise<Incarnation | null> {
  const rows = await sql<{ now: number; incarnation_id: string; noticed_copy_of: number | null }[]>`
    select
      ${epochMs(sql, 'token_ledger.clock()')} as now,
      incarnation_id,
      ${epochMs(sql, 'noticed_copy_of')} as noticed_copy_of
    from token_ledger.incarnation
    order by began_at, incarnation_id`
  const [first] = rows
  const current = rows.at(-1)
  if (first === undefined || current === undefined) return null
  return {
    now: current.now,
    ledgerId: first.incarnation_id,
    incarnationId: current.incarnation_id,
    incarnationIds: rows.map((row) => row.incarnation_id),
    noticedCopyOf: current.noticed_copy_of,
  }
}
