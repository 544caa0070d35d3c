import type { Transport } from '../../server/ledger/events.ts'
import type { Database } from '../connection/connect.ts'
import type { Transaction } from '../connection/transaction.ts'
import { fence } from './append.ts'

export type LockedFamily = {
  readonly familyId: string
  readonly userId: string
  readonly transport: Transport
  readonly createdAt: number
}

/** Locks held in one transaction; `txid` is what every write of it must name. */
export type LockedFamilies = {
  readonly txid: string
  readonly families: ReadonlyMap<string, LockedFamily>
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
export async function readEpoch({ statements }: Database, userId: string): Promise<number> {
  const [row] = await statements<{ epoch: number }[]>`
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

function toFamily(row: FamilyColumns): LockedFamily {
  return {
    familyId: row.family_id,
    userId: row.user_id,
    transport: row.transport,
    createdAt: row.created_at,
  }
}
