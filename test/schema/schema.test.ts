import { expect, test } from 'vitest'
import { asAdmin } from '../support/admin.ts'
import { emptyDatabase, freshDatabase } from '../support/database.ts'
import { dumpRights, dumpSchema } from './dump.ts'
import { readFacts } from './facts.ts'
import { format } from './format.ts'

test('drizzle/schema.sql is what the migrations make', async () => {
  await using migrated = await freshDatabase()
  const dump = await dumpSchema(migrated.ownerSql)
  await expect(dump, 'run: npm run schema:dump').toMatchFileSnapshot('../../drizzle/schema.sql')
})

test('drizzle/rights.sql is what the migrations grant, and the state of their triggers', async () => {
  await using migrated = await freshDatabase()
  const dump = await dumpRights(migrated.ownerSql)
  await expect(dump, 'run: npm run schema:dump').toMatchFileSnapshot('../../drizzle/rights.sql')
})

test('it says everything: a database made from it has the same catalogue', async () => {
  await using migrated = await freshDatabase()
  await using remade = await emptyDatabase()
  // Roles belong to the cluster, which has them already.
  const dump = (await dumpSchema(migrated.ownerSql)).replaceAll(/^create role .*/gm, '')
  await asAdmin(remade.url, (sql) => sql.unsafe(dump).simple())
  const facts = await readFacts(migrated.ownerSql)
  expect(facts.length).toBeGreaterThan(100)
  expect(await readFacts(remade.ownerSql)).toEqual(facts)
})

test('it does not change with the calendar', async () => {
  await using migrated = await freshDatabase()
  const dump = await dumpSchema(migrated.ownerSql)
  expect(dump).not.toMatch(/_\d{6}\b/)
  await migrated.ownerSql`select token_ledger.ensure_partitions(14)`
  expect(await dumpSchema(migrated.ownerSql)).toBe(dump)
})

test('an object without a place in it is an error', async () => {
  await using migrated = await freshDatabase()
  await migrated.ownerSql`create view token_audit.unheard_of as select 1 as one`
  await expect(dumpSchema(migrated.ownerSql)).rejects.toThrow('view token_audit.unheard_of')
})

test('what is quoted is laid out as it is', () => {
  const sql = `CHECK (a = 'NOT (b) AND C'::text AND "Strange, Name" = ANY (ARRAY['It''s'::text]))`
  expect(format(sql)).toBe(`check (a = 'NOT (b) AND C' and "Strange, Name" in ('It''s'))`)
})
