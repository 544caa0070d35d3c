import type { Sql } from 'postgres'

/**
 * Moves the database's clock, the only one there is, so that a test sees hours pass. It may move
 * backwards, too. Everything of this database, the service included, sees it at once.
 */
export async function moveClock(ownerSql: Sql, byMs: number): Promise<void> {
  await ownerSql.unsafe(`
    create or replace function token_ledger.clock() returns timestamptz
    language sql volatile
    return date_trunc('milliseconds', clock_timestamp() + interval '${byMs} milliseconds')`)
}

/** Stops the database's clock at an instant (epoch milliseconds), for edges of one millisecond. */
export async function stopClock(ownerSql: Sql, atMs: number): Promise<void> {
  await ownerSql.unsafe(`
    create or replace function token_ledger.clock() returns timestamptz
    language sql volatile
    return '${new Date(atMs).toISOString()}'::timestamptz`)
}
