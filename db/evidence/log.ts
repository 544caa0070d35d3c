import type { Statements } from '../connection/connect.ts'
import type { Transaction } from '../connection/transaction.ts'

/** The log needs single statements only. */
export type LogDatabase = Pick<Statements, 'statements'>

/**
 * Appends what is final and not in the log yet: 1,000 leaves at most.
 *
 * @returns how many; null when another process appends
 */
export async function appendLeaves({ statements: sql }: LogDatabase): Promise<number | null> {
  const [row] = await sql<{ appended: number | null }[]>`
    select token_ledger.append_leaves() as appended`
  return row?.appended ?? null
}

/** How many events of these families are not in the log yet. */
export async function countUnlogged(
  tx: Transaction | LogDatabase['statements'],
  { firstId, lastId }: { firstId: string; lastId: string },
): Promise<number> {
  const [row] = await tx<{ events: number }[]>`
    select count(*)::integer as events
    from token_ledger.token_event e
    where e.family_id between ${firstId}::uuid and ${lastId}::uuid
      and not exists (
        select from token_ledger.log_leaf l where l.family_id = e.family_id and l.seq = e.seq
      )`
  return row?.events ?? 0
}

/** How many leaves the log has. */
export async function readLogSize({ statements: sql }: LogDatabase): Promise<number> {
  const [row] = await sql<{ size: number }[]>`
    select coalesce(max(leaf_index) + 1, 0)::float8 as size from token_ledger.log_leaf`
  return row?.size ?? 0
}

/** How many milliseconds ago the oldest event was written that is not in the log yet; 0 when it has all. */
export async function readLogLag({ statements: sql }: LogDatabase): Promise<number> {
  const [row] = await sql<{ lag: number }[]>`
    select greatest(0, extract(epoch from token_ledger.clock() - waiting.occurred_at) * 1000)::float8 as lag
    from (
      select txid, coalesce(family_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff') as family_id, coalesce(seq, action_id) as place
      from token_ledger.log_leaf
      order by leaf_index desc
      limit 1
    ) last
    cross join lateral (
      select e.occurred_at
      from token_ledger.token_event e
      where (e.txid, e.family_id, e.seq) > (last.txid, last.family_id, last.place)
      order by e.txid, e.family_id, e.seq
      limit 1
    ) waiting`
  return row?.lag ?? 0
}

/** The hashes of `count` leaves from `first` on: of the events and admin actions, as the chains have them. */
export async function readLeafHashes(
  { statements: sql }: LogDatabase,
  { first, count }: { first: number; count: number },
): Promise<Buffer[]> {
  const rows = await sql<{ hash: Buffer }[]>`
    select hash
    from token_ledger.log_leaf
    where leaf_index >= ${first}::bigint and leaf_index < ${first + count}::bigint
    order by leaf_index`
  return rows.map(({ hash }) => hash)
}

/** Nodes of the Merkle tree that each stand for 256^level leaves. */
export async function readNodeHashes(
  { statements: sql }: LogDatabase,
  { level, first, count }: { level: number; first: number; count: number },
): Promise<Buffer[]> {
  const rows = await sql<{ hash: Buffer }[]>`
    select hash
    from token_ledger.log_node
    where level = ${level}::smallint
      and node_index >= ${first}::bigint and node_index < ${first + count}::bigint
    order by node_index`
  return rows.map(({ hash }) => hash)
}

/** Where an event is in the log, or the last one of its family if `seq` is null; null when it is not in it. */
export async function findLeaf(
  { statements: sql }: LogDatabase,
  { familyId, seq }: { familyId: string; seq: number | null },
): Promise<{ leafIndex: number; hash: Buffer } | null> {
  const [row] = await sql<{ leafIndex: number; hash: Buffer }[]>`
    select leaf_index::float8 as "leafIndex", hash
    from token_ledger.log_leaf
    where family_id = ${familyId}::uuid and seq = coalesce(${seq}::integer, seq)
    order by seq desc
    limit 1`
  return row ?? null
}
