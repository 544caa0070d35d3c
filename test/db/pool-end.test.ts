import { expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { connectOwner } from '../../db/connection/driver.ts'
import { isUnavailable } from '../../db/connection/errors.ts'
import { command, startCluster } from '../support/cluster.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'

async function openConnections({ ownerSql }: FreshDatabase): Promise<number> {
  const [row] = await ownerSql<{ count: number }[]>`
    select count(*)::integer as count from pg_stat_activity
    where datname = current_database() and application_name = 'ended'`
  return row!.count
}

test.each([{ timeout: undefined }, { timeout: 5 }, { timeout: 0 }])(
  'a pool that ends while statements wait for a connection leaves none behind (%o)',
  async ({ timeout }) => {
    await using database = await freshDatabase()
    const sql = connectOwner(database.url, { application_name: 'ended' })
    const asked = [1, 2, 3].map((n) =>
      sql`select ${n}::integer as n`.catch((error: unknown) => error),
    )
    // In the same turn of the event loop: the first of them has not connected yet.
    await sql.end(timeout === undefined ? {} : { timeout })
    const answers = await Promise.all(asked)
    // What the driver had not sent by then is refused.
    const outcomes = answers.map((answer) => (isUnavailable(answer) ? 'refused' : answer))
    expect(outcomes).toEqual([timeout === 0 ? 'refused' : [{ n: 1 }], 'refused', 'refused'])
    await expect.poll(() => openConnections(database)).toBe(0)
  },
)

test('a pool of several connections that ends while one of them is busy leaves none behind', async () => {
  await using database = await freshDatabase()
  const pool = connect(`${database.url}?application_name=ended`, { maxConnections: 4 })
  const asked = Array.from({ length: 12 }, (_one, at) =>
    pool.transactions`select pg_sleep(${at === 0 ? 0.5 : 0})`.catch((error: unknown) => error),
  )
  await new Promise(setImmediate)
  await pool.close()
  const [first] = await Promise.all(asked)
  expect(first).toHaveLength(1)
  await expect.poll(() => openConnections(database)).toBe(0)
})

test('a pool ends also after it lost its connection during a statement', async () => {
  await using database = await freshDatabase()
  const sql = connectOwner(database.url, { application_name: 'ended' })
  const asked = sql`select pg_sleep(60)`.catch((error: unknown) => error)
  await expect.poll(() => openConnections(database)).toBe(1)
  const ended = sql.end()
  await database.ownerSql`
    select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ended'`
  await ended
  expect(isUnavailable(await asked)).toBe(true)
})

test('migrate ends where Postgres takes a second to let a connection in', async () => {
  await using cluster = await startCluster({ settings: { pre_auth_delay: '1s' } })
  expect(await command(cluster.url(), ['migrate'])).toMatchObject({
    code: 0,
    stderr: 'the schema is up to date\n',
  })
})
