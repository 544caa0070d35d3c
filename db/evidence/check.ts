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

/** Leaves from `first` on, with the hashes computed again from the columns of the events and the admin actions. */
export async function readCheckedLeaves(
  { statements: sql }: LogDatabase,
  { first, count }: { first: number; count: number },
): Promise<CheckedLeaf[]> {
  return sql<CheckedLeaf[]>`
    select
      l.leaf_index::float8 as "leafIndex", l.family_id as "familyId", l.seq,
      l.action_id::float8 as "actionId", l.hash,
      case when l.action_id is null
        then token_ledger.event_hash(e)
        else token_ledger.admin_action_hash(a)
      end as "contentHash"
    from token_ledger.log_leaf l
    left join token_ledger.token_event e on e.family_id = l.family_id and e.seq = l.seq
    left join token_ledger.admin_action a on a.action_id = l.action_id
    where l.leaf_index >= ${first}::bigint and l.leaf_index < ${first + count}::bigint
    order by l.leaf_index`
}

/** An event or an admin action. */
export type LoggedRow = Pick<CheckedLeaf, 'familyId' | 'seq' | 'actionId'>

/**
 * Rows that come before the newest leaf and have none: they were added behind the back of the log. While rows name
 * transactions that this cluster has not reached, after a restore from a dump, the order does not say so.
 */
export async function readRowsWithoutLeaf(
  { statements: sql }: LogDatabase,
  limit: number,
): Promise<LoggedRow[]> {
  return sql<LoggedRow[]>`
    with last as (
      select txid, coalesce(family_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff') as family_id, coalesce(seq, action_id) as place
      from token_ledger.log_leaf
      order by leaf_index desc
      limit 1
    )
    select e.family_id as "familyId", e.seq, null::float8 as "actionId"
    from token_ledger.token_event e, last
    where last.txid < pg_snapshot_xmax(pg_current_snapshot())
      and (e.txid, e.family_id, e.seq) <= (last.txid, last.family_id, last.place)
      and not exists (
        select from token_ledger.log_leaf l where l.family_id = e.family_id and l.seq = e.seq
      )
    union all
    select null, null, a.action_id::float8
    from token_ledger.admin_action a, last
    where last.txid < pg_snapshot_xmax(pg_current_snapshot())
      and (a.txid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid, a.action_id)
        <= (last.txid, last.family_id, last.place)
      and not exists (select from token_ledger.log_leaf l where l.action_id = a.action_id)
    limit ${limit}`
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
