import type { Sql } from 'postgres'

/**
 * Moves the database's clock, the only one that the service uses, so that hours pass in a test. It may move
 * backwards as well. Everything on this database, the service included, sees it at once.
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

/** Moves the database's clock by a minute five times a second, until disposed. */
export function passMinutes(ownerSql: Sql): AsyncDisposable {
  let minutes = 0
  let last: Promise<unknown> = Promise.resolve()
  const timer = setInterval(() => {
    minutes += 1
    last = last.then(() => moveClock(ownerSql, minutes * 60_000))
  }, 200)
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await last
    },
  }
}
