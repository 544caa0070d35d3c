import { expect, test } from 'vitest'
import { freshDatabase } from '../support/database.ts'

test('every fresh database is migrated, empty and of its own', async () => {
  const databases = await Promise.all(Array.from({ length: 8 }, freshDatabase))
  await using one = await freshDatabase()
  expect(new Set([one, ...databases].map(({ url }) => url)).size).toBe(9)
  for (const { ownerSql } of databases) {
    expect(await ownerSql`select from token_ledger.token_event`).toHaveLength(0)
  }
  await databases[0]!.ownerSql`create table mark ()`
  await expect(databases[1]!.ownerSql`select from mark`).rejects.toThrow('does not exist')
  await Promise.all(databases.map((database) => database[Symbol.asyncDispose]()))
})
