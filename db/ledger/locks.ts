import type { Transport } from '../../server/ledger/events.ts'
import type { Database } from '../connection/connect.ts'
import type { Transaction } from '../connection/transaction.ts'
import { epochMs } from '../instant.ts'
import { fence } from './append.ts'
import type { LockedFamily } from './event-rows.ts'

/** Families locked by one transaction; every write in it must name `txid`. */
export type LockedFamilies = {
  readonly txid: string
  readonly families: ReadonlyMap<string, LockedFamily>
}

/** Locks the rows of these families, in the order of their ids, and waits for transactions that hold them. */
export async function lockFamilies(
  tx: Transaction,
  familyIds: readonly string[],
): Promise<LockedFamilies> {
  const rows = await tx<(FamilyColumns & { txid: string })[]>`
    select
      pg_current_xact_id()::text as txid, family_id, user_id, transport,
      ${epochMs(tx, 'created_at')} as created_at
    from token_ledger.token_family
    where family_id = any(${familyIds as string[]}::uuid[])
    order by family_id
    for update`
  return {
    txid: rows[0]?.txid ?? '',
    families: new Map(rows.map((row) => [row.family_id, toFamily(row)])),
  }
}

/**
 * Locks the rows of these users, in the order of their ids. That serialises sign-ins, "end all sessions", changes
 * of an account, and the acts of its user. To avoid deadlocks, lock all users before any family.
 */
export async function lockUsers(
  tx: Transaction,
  userIds: readonly string[],
): Promise<{ txid: string }> {
  await tx`
    insert into token_ledger.user_epoch (user_id)
    select distinct id from unnest(${userIds as string[]}::uuid[]) id order by id
    on conflict (user_id) do nothing`
  const [row] = await tx<{ txid: string }[]>`
    select pg_current_xact_id()::text as txid
    from token_ledger.user_epoch
    where user_id = any(${userIds as string[]}::uuid[])
    order by user_id
    for update`
  if (row === undefined) throw new Error('the locked user row is missing')
  return row
}

/** How often all sessions of the user were ended. A sign-in reads it first; 0 before the first sign-in. */
export async function readEpoch({ statements }: Database, userId: string): Promise<number> {
  const [row] = await statements<{ epoch: number }[]>`
    select epoch
    from token_ledger.user_epoch
    where user_id = ${userId}::uuid`
  return row?.epoch ?? 0
}

/** Invalidates the user's sign-ins in progress. */
export async function bumpEpoch(tx: Transaction, txid: string, userId: string): Promise<void> {
  const written = await tx`
    update token_ledger.user_epoch
    set epoch = epoch + 1
    where user_id = ${userId}::uuid and pg_current_xact_id()::text = ${txid}`
  fence(written.count, 1)
}

/**
 * The user's families that may be active, oldest first. The events decide: a family may have expired, and one that
 * the transaction has not locked may end meanwhile.
 */
export async function listOpenFamilies(tx: Transaction, userId: string): Promise<string[]> {
  const rows = await tx<{ family_id: string }[]>`
    select family_id
    from token_ledger.open_family
    where user_id = ${userId}::uuid and absolute_expires_at > token_ledger.clock()
    order by family_id`
  return rows.map((row) => row.family_id)
}

type FamilyColumns = {
  family_id: string
  user_id: string
  transport: Transport
  created_at: number
}

function toFamily(row: FamilyColumns): LockedFamily {
  return {
    familyId: row.family_id,
    userId: row.user_id,
    transport: row.transport,
    createdAt: row.created_at,
  }
}
