import type { LogDatabase } from './log.ts'

/** A leaf, and what the event or the admin action that it stands for hashes to now; null where that is gone. */
export type CheckedLeaf = {
  readonly leafIndex: number
  readonly familyId: string | null
  readonly seq: number | null
  readonly actionId: number | null
  readonly hash: Buffer
  readonly contentHash: Buffer | null
}

/**
 * Leaves from `first` on, with the hashes computed again from the columns of the events and the admin actions. Here and
 * below, `offset 0` has a row looked up for each one: a plan without it may read the whole ledger.
 */
export async function readCheckedLeaves(
  { statements: sql }: LogDatabase,
  { first, count }: { first: number; count: number },
): Promise<CheckedLeaf[]> {
  return sql<CheckedLeaf[]>`
    select
      l.leaf_index::float8 as "leafIndex", l.family_id as "familyId", l.seq,
      l.action_id::float8 as "actionId", l.hash,
      case when l.action_id is null
        then event.hash
        else action.hash
      end as "contentHash"
    from token_ledger.log_leaf l
    left join lateral (
      select token_ledger.event_hash(e) as hash
      from token_ledger.token_event e
      where e.family_id = l.family_id and e.seq = l.seq
      offset 0
    ) event on true
    left join lateral (
      select token_ledger.admin_action_hash(a) as hash
      from token_ledger.admin_action a
      where a.action_id = l.action_id
      offset 0
    ) action on true
    where l.leaf_index >= ${first}::bigint and l.leaf_index < ${first + count}::bigint
    order by l.leaf_index`
}

/** An event or an admin action. */
export type LoggedRow = Pick<CheckedLeaf, 'familyId' | 'seq' | 'actionId'>

type CheckedRow = LoggedRow & { readonly isMissing: boolean }

/** Stands for the family of an admin action, which comes after all events of its transaction: as in `append_leaves`. */
const noFamily = 'ffffffff-ffff-ffff-ffff-ffffffffffff'

/** Rows per statement: each one is far below `statement_timeout`. */
const rowsPerPage = 5_000

/**
 * Rows that come before the newest leaf and have none: they were added behind the back of the log. While rows name
 * transactions that this cluster has not reached, after a restore from a dump, the order does not say so.
 */
export async function readRowsWithoutLeaf(
  database: LogDatabase,
  limit: number,
  pageSize = rowsPerPage,
): Promise<LoggedRow[]> {
  const missing: LoggedRow[] = []
  for (const readPage of [readEventsPage, readActionsPage]) {
    let page: CheckedRow[] = []
    do {
      page = await readPage(database, page.at(-1), pageSize)
      for (const { isMissing, ...row } of page)
        if (isMissing && missing.length < limit) missing.push(row)
    } while (page.length === pageSize && missing.length < limit)
  }
  return missing
}

/**
 * A page of all events after the given one. Its size is text of the statement, and no other condition narrows it down:
 * the plan depends on both.
 */
async function readEventsPage(
  { statements: sql }: LogDatabase,
  after: CheckedRow | undefined,
  size: number,
): Promise<CheckedRow[]> {
  return sql<CheckedRow[]>`
    with last as (${newestLeaf(sql)}),
    page as materialized (
      select family_id, seq, txid
      from token_ledger.token_event
      where ${
        after === undefined
          ? sql`true`
          : sql`(family_id, seq) > (${after.familyId}::uuid, ${after.seq}::integer)`
      }
      order by family_id, seq
      limit ${sql.unsafe(String(size))}
    )
    select
      p.family_id as "familyId", p.seq, null::float8 as "actionId",
      logged.is_logged is null
        and last.txid < pg_snapshot_xmax(pg_current_snapshot())
        and (p.txid, p.family_id, p.seq) <= (last.txid, last.family_id, last.place) as "isMissing"
    from page p
    cross join last
    left join lateral (
      select true as is_logged
      from token_ledger.log_leaf l
      where l.family_id = p.family_id and l.seq = p.seq
      offset 0
    ) logged on true
    order by p.family_id, p.seq`
}

/** The same of the admin actions. */
async function readActionsPage(
  { statements: sql }: LogDatabase,
  after: CheckedRow | undefined,
  size: number,
): Promise<CheckedRow[]> {
  return sql<CheckedRow[]>`
    with last as (${newestLeaf(sql)}),
    page as materialized (
      select action_id, txid
      from token_ledger.admin_action
      where ${after === undefined ? sql`true` : sql`action_id > ${after.actionId}::bigint`}
      order by action_id
      limit ${sql.unsafe(String(size))}
    )
    select
      null::uuid as "familyId", null::integer as seq, p.action_id::float8 as "actionId",
      logged.is_logged is null
        and last.txid < pg_snapshot_xmax(pg_current_snapshot())
        and (p.txid, ${noFamily}::uuid, p.action_id)
          <= (last.txid, last.family_id, last.place) as "isMissing"
    from page p
    cross join last
    left join lateral (
      select true as is_logged
      from token_ledger.log_leaf l
      where l.action_id = p.action_id
      offset 0
    ) logged on true
    order by p.action_id`
}

function newestLeaf(sql: LogDatabase['statements']) {
  return sql`
    select txid, coalesce(family_id, ${noFamily}::uuid) as family_id, coalesce(seq, action_id) as place
    from token_ledger.log_leaf
    order by leaf_index desc
    limit 1`
}

/** The months (`202601`) that `ledger archive` has recorded to have moved out of the database. */
export async function readArchivedMonths({
  statements: sql,
}: LogDatabase): Promise<{ first: string; last: string }[]> {
  return sql<{ first: string; last: string }[]>`
    select found[1] as first, found[2] as last
    from (
      select regexp_match(reason, '^(\\d{6}) to (\\d{6}): ') as found
      from token_ledger.admin_action
      where action = 'ledger_archived'
    ) archived
    where found is not null`
}
