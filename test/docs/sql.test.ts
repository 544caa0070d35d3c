import postgres from 'postgres'
import { expect, test } from 'vitest'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import { endAllSessions, endSession } from '../../server/sessions/revocation.ts'
import { moveClock } from '../support/clock.ts'
import { freshDatabase } from '../support/database.ts'
import { startLedger, testCaller } from '../support/ledger.ts'
import { blocksOf, codeIn, readPage, readPages, rowsOf, sectionOf } from './pages.ts'

const guide = 'docs/guides/sql.md'
const reference = readPage('docs/reference/sql.md')

const blocks = readPages()
  .flatMap(blocksOf)
  .filter(({ language, flag }) => language === 'sql' && flag !== 'ignore')

test('each query of docs/guides/sql.md runs as the auditor and finds what it says, and all other SQL runs', async () => {
  await using ledger = await startLedger()
  const { ownerSql } = ledger.owner
  const ada = await ledger.makeUser()
  const admin = await ledger.makeUser('admin')
  await ownerSql`
    update token_ledger.user_account set email = 'ada@example.com' where user_id = ${ada.id}`
  await moveClock(ownerSql, -60_000)
  const first = await ledger.start(ada)
  await ledger.refresh(first)
  await ledger.refresh(first)
  await moveClock(ownerSql, -40_000)
  await ledger.refresh(first).catch(() => {})
  await moveClock(ownerSql, 0)
  let spent = await ledger.start(ada)
  for (let generation = 1; generation <= 3; generation++) {
    const next = await ledger.refresh(spent)
    const caller = { ...testCaller, ip: '198.51.100.9' }
    await ledger.rotate({ token: spent.token, transport: 'body', attemptId: null, caller })
    spent = next
  }
  const second = await ledger.start(ada)
  await endSession(
    ledger.deps,
    {
      familyId: second.familyId,
      inSameTransaction: (transaction) =>
        insertAdminAction(transaction, {
          action: 'session_revoked',
          actorUserId: admin.id,
          familyId: second.familyId,
          reason: 'asked',
        }),
    },
    { reason: 'admin_revoked', actorUserId: admin.id, caller: testCaller },
  )
  await ledger.start(ada)
  await endAllSessions(ledger.deps, ada.id, {
    by: { reason: 'password_changed', actorUserId: ada.id, caller: testCaller },
  })
  await moveClock(ownerSql, -3_600_000)
  await ledger.start(await ledger.makeUser())
  await moveClock(ownerSql, 0)

  const auditor = postgres(ledger.owner.url, {
    max: 1,
    onnotice: () => {},
    connection: { role: 'token_ledger_auditor' },
  })
  try {
    const queries = blocks.filter(({ page }) => page === guide)
    expect(queries.length).toBeGreaterThanOrEqual(12)
    for (const { title, flag, text } of queries) {
      const rows = await auditor.unsafe(text)
      expect([title, rows.length > 0]).toEqual([title, flag !== 'none'])
    }
  } finally {
    await auditor.end()
  }
  for (const { page, line, text } of blocks.filter((block) => block.page !== guide)) {
    // Roles belong to the whole server: nothing of it stays.
    const run = ownerSql.begin(async (tx) => {
      await tx.unsafe(text)
      throw new Error('it runs')
    })
    await expect(run, `${page}:${line}`).rejects.toThrow(/^it runs$/)
  }
})

test('docs/reference/sql.md has the columns of every view', async () => {
  await using database = await freshDatabase()
  const columns = await database.ownerSql<{ view: string; name: string; type: string }[]>`
    select c.relname as view, a.attname as name, format_type(a.atttypid, a.atttypmod) as type
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    where c.relnamespace = 'token_audit'::regnamespace
    order by c.relname, a.attnum`
  const views = [...new Set(columns.map(({ view }) => view))]
  const documented = Array.from(
    reference.text.matchAll(/^## View `token_audit\.(\w+)`$/gm),
    (m) => m[1]!,
  )
  expect(documented.toSorted()).toEqual(views)
  const short = (type: string) => type.replace('timestamp with time zone', 'timestamptz')
  for (const view of views) {
    const rows = rowsOf(sectionOf(reference, `View \`token_audit.${view}\``))
    const actual = columns.filter((column) => column.view === view)
    expect([view, rows.map(([name = '', type]) => [codeIn(name)[0], type])]).toEqual([
      view,
      actual.map(({ name, type }) => [name, short(type)]),
    ])
  }
})

test('docs/reference/sql.md has every function with what it takes and gives', async () => {
  await using database = await freshDatabase()
  const functions = await database.ownerSql<{ name: string; takes: string; gives: string }[]>`
    select
      p.proname as name, pg_get_function_identity_arguments(p.oid) as takes,
      pg_get_function_result(p.oid) as gives
    from pg_proc p
    where p.pronamespace = 'token_audit'::regnamespace`
  const rows = rowsOf(sectionOf(reference, 'Functions'))
  const documented = rows.map(([call = '', result = '']) => [codeIn(call)[0], codeIn(result)[0]])
  const actual = functions.map(({ name, takes, gives }) => {
    const short = (text: string) => text.replaceAll('timestamp with time zone', 'timestamptz')
    const [, columns] = /^TABLE\((.*)\)$/.exec(gives) ?? []
    const [, view] = /^SETOF (?:token_audit\.)?(\w+)$/.exec(gives) ?? []
    return [`token_audit.${name}(${short(takes)})`, short(columns ?? view ?? gives)]
  })
  expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(actual))
})

test('the auditor can read token_audit and nothing else', async () => {
  await using ledger = await startLedger()
  const { familyId } = await ledger.start(await ledger.makeUser())
  const auditor = postgres(ledger.owner.url, {
    max: 1,
    connection: { role: 'token_ledger_auditor' },
  })
  try {
    const objects = await ledger.owner.ownerSql<{ name: string }[]>`
      select format('%I.%I', schemaname, relname) as name
      from (
        select schemaname, tablename as relname from pg_tables
        union all
        select schemaname, viewname from pg_views
      ) t
      where schemaname like 'token\\_%'`
    for (const { name } of objects) {
      const mayRead = await auditor.unsafe(`select * from ${name}`).then(
        () => true,
        (error: { code: string }) => (error.code === '42501' ? false : Promise.reject(error)),
      )
      expect([name, mayRead]).toEqual([name, name.startsWith('token_audit.')])
    }
    const [verdict] = await auditor`select intact from token_audit.verify_family(${familyId})`
    expect(verdict).toEqual({ intact: true })
    const [state] = await auditor`
      select status from token_audit.session_state_at(${familyId}, now() + interval '1 minute')`
    expect(state).toEqual({ status: 'active' })
    const write = auditor`insert into token_audit.events (seq) values (1)`
    await expect(write).rejects.toMatchObject({ code: expect.stringMatching(/^(42501|55000)$/) })
    const erase = auditor`select token_ledger.erase_traces(${familyId})`
    await expect(erase).rejects.toMatchObject({ code: '42501' })
  } finally {
    await auditor.end()
  }
})
