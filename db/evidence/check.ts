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
