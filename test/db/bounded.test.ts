import postgres, { type Sql } from 'postgres'
import { afterAll, beforeAll, beforeEach, afterEach, expect, test } from 'vitest'
import { bounded, PoolFull } from '../../db/connection/bounded.ts'
import { isUnavailable } from '../../db/connection/errors.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'

const gate = 1234

let owner: FreshDatabase
beforeAll(async () => {
  owner = await freshDatabase()
})
afterAll(() => owner[Symbol.asyncDispose]())

let driver: Sql
let sent: string[]
beforeEach(() => {
  sent = []
  driver = postgres(owner.url, { max: 1, debug: (_connection, query) => sent.push(query) })
})
afterEach(() => driver.end())

/** A lock that every `select pg_advisory_xact_lock` of these tests waits for. */
async function shut(): Promise<{ open(): Promise<void> }> {
  const holder = await owner.ownerSql.reserve()
  await holder`select pg_advisory_lock(${gate})`
  return {
    async open() {
      await holder`select pg_advisory_unlock(${gate})`
      holder.release()
    },
  }
}

test('a pool refuses what exceeds its bound at once, sends nothing of it, and takes more when there is room', async () => {
  const sql = bounded(driver, 3)
  const held = await shut()
  const waiting = [
    sql`select pg_advisory_xact_lock(${gate})`,
    sql.unsafe('select 1 as one'),
    sql.begin((tx) => tx`select 2 as two`),
  ].map((query) => Promise.resolve(query))
  await expect(sql`select 'refused'`).rejects.toThrow(PoolFull)
  await expect(sql.unsafe("select 'refused'")).rejects.toThrow(PoolFull)
  await expect(sql.begin((tx) => tx`select 'refused'`)).rejects.toThrow(PoolFull)
  await held.open()
  await Promise.all(waiting)
  expect(sent.filter((query) => query.includes('refused'))).toEqual([])
  expect([...(await sql`select 3 as three`)]).toEqual([{ three: 3 }])
})

test('statements that fail, and transactions that roll back, make room', async () => {
  const sql = bounded(driver, 1)
  for (let i = 0; i < 3; i++) {
    await expect(sql`select 1 / ${0}::integer`).rejects.toMatchObject({ code: '22012' })
    await expect(sql.begin((tx) => tx`select 1 / ${0}::integer`)).rejects.toMatchObject({
      code: '22012',
    })
  }
  expect(await sql`select 1`).toHaveLength(1)
})

test('a statement counts once, whatever fragments it is made of and however often it is awaited', async () => {
  const sql = bounded(driver, 1)
  const part = sql`and ${true}`
  const query = sql`select 1 where true ${part} ${sql.unsafe('and true')}`
  expect([await query, await query].map((rows) => rows.length)).toEqual([1, 1])
  expect(await sql`select 1`).toHaveLength(1)
})

test('a full pool is reported as a database that is not available, which is 503', () => {
  expect(isUnavailable(new PoolFull())).toBe(true)
})
