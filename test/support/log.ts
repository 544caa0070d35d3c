import { generateKeyPairSync } from 'node:crypto'
import type { TransactionSql } from 'postgres'
import { appendLeaves, type LogDatabase } from '../../db/evidence/log.ts'
import type { LogIdentity } from '../../server/evidence/sign-checkpoints.ts'
import type { FreshDatabase } from './database.ts'
import { waitFor } from './wait.ts'

/**
 * Appends until the log has every event and every admin action. A transaction of any database of the cluster may hold
 * back the newest of them.
 */
export async function completeLog({ ownerSql }: FreshDatabase): Promise<number> {
  const database: LogDatabase = { statements: ownerSql }
  return waitFor(async () => {
    await appendLeaves(database)
    const { leaves, rows } = await logCounts(ownerSql)
    return leaves === rows && leaves
  }, 'the log has every event and every admin action')
}

/** How many leaves there are, and how many rows that should have one. */
export async function logCounts(sql: FreshDatabase['ownerSql']) {
  const [row] = await sql<{ leaves: number; rows: number }[]>`
    select
      (select count(*)::integer from token_ledger.log_leaf) as leaves,
      (select count(*)::integer from token_ledger.token_event)
        + (select count(*)::integer from token_ledger.admin_action) as rows`
  return row!
}

/** Leaves that are no event and no admin action of the ledger, in order. */
export async function strayLeaves(sql: FreshDatabase['ownerSql']) {
  return sql`
    select l.leaf_index
    from (
      select *, row_number() over (order by leaf_index) - 1 as place from token_ledger.log_leaf
    ) l
    left join token_ledger.token_event e on e.family_id = l.family_id and e.seq = l.seq
    left join token_ledger.admin_action a on a.action_id = l.action_id
    where l.hash is distinct from coalesce(e.hash, a.hash)
      or l.leaf_index <> l.place
    order by l.leaf_index`
}

/** A log's name with a key of its own. */
export function makeIdentity(): LogIdentity {
  return {
    origin: 'auth.example.com/ledger',
    privateKey: generateKeyPairSync('ed25519').privateKey,
  }
}

const guarded = [
  'token_event',
  'token_family',
  'admin_action',
  'log_leaf',
  'log_node',
  'log_checkpoint',
]

/** Runs statements with all triggers off, as a superuser can, looks at the result, and takes everything back. */
export async function whileTampered<T>(
  { ownerSql }: FreshDatabase,
  statements: string,
  look: (database: LogDatabase) => Promise<T>,
): Promise<T> {
  let result: { found: T } | undefined
  const undone = new Error('undone')
  const run = async (tx: TransactionSql) => {
    for (const table of guarded)
      await tx.unsafe(`alter table token_ledger.${table} disable trigger all`)
    const parts = await tx<{ name: string }[]>`
      select inhrelid::regclass::text as name from pg_inherits
      where inhparent in ('token_ledger.token_event'::regclass, 'token_ledger.token_family'::regclass)`
    for (const { name } of parts) await tx.unsafe(`alter table ${name} disable trigger all`)
    await tx.unsafe(statements)
    result = { found: await look({ statements: tx as never }) }
    throw undone
  }
  await ownerSql.begin(run).catch((error: unknown) => {
    if (error !== undone) throw error
  })
  return result!.found
}
