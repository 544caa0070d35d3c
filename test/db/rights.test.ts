import { expect, test } from 'vitest'
import { migrate } from '../../db/migrate.ts'
import { rolesOf, usualRoles } from '../../db/roles.ts'
import { emptyDatabase, freshDatabase } from '../support/database.ts'
import { readFacts } from '../schema/facts.ts'

const everyTrigger = `
  select tgrelid::regclass as "table", quote_ident(tgname) as name
  from pg_trigger t
  join pg_class c on c.oid = t.tgrelid
  where not tgisinternal and tgparentid = 0 and relnamespace = 'token_ledger'::regnamespace`

test('LE-01: migrate gives back the rights of the roles, and takes those of PUBLIC', async () => {
  // With roles of its own: those of other databases keep their rights there.
  await using ledger = await emptyDatabase()
  await migrate(ledger.url)
  const roles = await rolesOf(ledger.url)
  expect(roles).not.toEqual(usualRoles)
  const due = await readFacts(ledger.ownerSql)
  await ledger.ownerSql.unsafe(`
    drop owned by ${roles.app}, ${roles.auditor};
    grant execute on all functions in schema token_audit to public;
    grant execute on function token_ledger.erase_traces(uuid) to public`)
  expect(await readFacts(ledger.ownerSql)).not.toEqual(due)
  await migrate(ledger.url, { roles })
  expect(await readFacts(ledger.ownerSql)).toEqual(due)
})

test.each(['enable', 'disable', 'enable replica'])(
  'migrate mends triggers that were left with %s trigger',
  async (state) => {
    await using ledger = await freshDatabase()
    const due = await readFacts(ledger.ownerSql)
    for (const { table, name } of await ledger.ownerSql.unsafe(everyTrigger))
      await ledger.ownerSql.unsafe(`alter table ${table} ${state} trigger ${name}`)
    expect(await readFacts(ledger.ownerSql)).not.toEqual(due)
    await migrate(ledger.url)
    expect(await readFacts(ledger.ownerSql)).toEqual(due)
    // Months are not among the facts.
    const months = await ledger.ownerSql`
      select distinct tgenabled from pg_trigger
      where not tgisinternal and tgrelid::regclass::text ~ '_[0-9]{6}$'`
    expect([...months]).toEqual([{ tgenabled: 'A' }])
  },
)

test('migrate waits for no writer where nothing is to be mended', async () => {
  await using ledger = await freshDatabase()
  await ledger.ownerSql.begin(async (tx) => {
    await tx`select from token_ledger.user_account for update`
    await tx`lock table token_ledger.token_event, token_ledger.token_family in row exclusive mode`
    expect(await migrate(ledger.url, { lockMs: 1 })).toEqual([])
  })
})

test('migrate leaves the rights of a newer version alone', async () => {
  await using ledger = await freshDatabase()
  await ledger.ownerSql.unsafe(`
    insert into token_ledger_migrations.applied (hash, created_at) values ('newer', 9999999999999);
    revoke delete on token_ledger.signing_key from token_ledger_app;
    drop function token_ledger.sweep_open_families()`)
  const newer = await readFacts(ledger.ownerSql)
  await migrate(ledger.url)
  expect(await readFacts(ledger.ownerSql)).toEqual(newer)
})
