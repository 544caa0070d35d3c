import type postgres from 'postgres'

/** A Postgres session that holds a lock another session waits for. */
export type LockHolder = {
  readonly pid: number
  readonly user: string
  readonly application: string
}

export function describeHolders(holders: readonly LockHolder[]): string {
  if (holders.length === 0) return 'a transaction that is over by now'
  return holders
    .map(({ pid, user, application }) => `pid ${pid}, user ${user}, application "${application}"`)
    .join('; ')
}

/** Sessions, other than the calling one, that hold a lock on one of these tables. */
export async function readTableHolders(
  sql: postgres.Sql | postgres.TransactionSql,
  tables: readonly string[],
): Promise<LockHolder[]> {
  return sql<LockHolder[]>`
    select distinct a.pid, a.usename as user, a.application_name as application
    from pg_locks l
    join pg_stat_activity a on a.pid = l.pid
    where l.relation = any(select to_regclass(name) from unnest(${tables as string[]}::text[]) name)
      and l.database = (select oid from pg_database where datname = current_database())
      and l.granted and l.pid <> pg_backend_pid()`
}

/** Sessions that `pid` waits for, as Postgres sees it at this moment. */
export async function readBlockers(sql: postgres.Sql, pid: number): Promise<LockHolder[]> {
  return sql<LockHolder[]>`
    select pid, usename as user, application_name as application
    from pg_stat_activity
    where pid = any(pg_blocking_pids(${pid}))`
}
