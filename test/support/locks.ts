import type { ReservedSql } from 'postgres'
import type { TestLedger } from './ledger.ts'

type At = Pick<TestLedger, 'owner'>

/** Another transaction that locks the family until it commits or rolls back. */
export async function lockFamily({ owner }: At, familyId: string): Promise<ReservedSql> {
  const holder = await owner.ownerSql.reserve()
  await holder`begin`
  await holder`select from token_ledger.token_family where family_id = ${familyId} for update`
  return holder
}

/** Whether a backend of the service waits for a row that another transaction has locked. */
export async function isBlocked({ owner }: At): Promise<boolean> {
  const rows = await owner.ownerSql`
    select from pg_stat_activity
    where datname = current_database() and application_name = 'token-ledger'
      and wait_event_type = 'Lock' and wait_event in ('transactionid', 'tuple')`
  return rows.length > 0
}
