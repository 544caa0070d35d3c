import { afterAll, beforeAll, expect, test } from 'vitest'
import { cli } from '../support/cli.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database[Symbol.asyncDispose]())

const sql = (statement: string) => cli(database.url, ['sql', statement])

test('a statement runs as the auditor, read only and without a time limit', async () => {
  const { code, stdout } = await sql(`
    select
      current_user as who,
      current_setting('transaction_read_only') as read_only,
      current_setting('statement_timeout') as most,
      null as nothing;`)
  expect(code).toBe(0)
  expect(stdout).toMatch(/^who +read_only +most +nothing\ntoken_ledger_auditor +on +0 +–\n$/)
  expect(await sql('select * from token_ledger.token_family')).toMatchObject({
    code: 2,
    stdout: '',
    stderr: 'permission denied for schema token_ledger\n',
  })
})

test.each([
  [
    'a commit before other statements',
    'commit; set role none; create table public.pwned(a int); select 1',
  ],
  ['a transaction set to read write', 'set transaction read write; select 1'],
  ['two queries', 'select 1; select 2'],
  ['an empty text', ''],
  ['a comment', '-- hi'],
  ['a commit', 'commit'],
  ['a change of the role', 'set role none'],
  ['a do block', 'do $$ begin perform 1; end $$'],
  ['a copy', 'copy (select 1) to stdout'],
  ['a query with a parameter', 'select $1::int'],
])(
  '%s is not one query that returns rows: sql exits 3 and runs nothing',
  async (_what, statement) => {
    expect(await sql(statement)).toEqual({
      code: 3,
      stdout: '',
      stderr: 'expected one statement that returns rows\nusage: token-ledger sql "select …"\n',
    })
    expect(await database.ownerSql`select to_regclass('public.pwned') as made`).toEqual([
      { made: null },
    ])
  },
)

// A user with DATABASE_URL can leave the role within a statement: then the read-only transaction protects the data.
test.each([
  [`set_config('transaction_read_only', 'off', true)`, 'must be set before any query'],
  [`query_to_xml('create table public.pwned(a int)', true, false, '')`, 'not allowed'],
  [`lo_create(0)`, 'read-only transaction'],
  [`setval('public.counter', 7)`, 'read-only transaction'],
])('a statement that has left the role writes nothing by %s', async (attempt, refusal) => {
  await database.ownerSql`create sequence if not exists public.counter`
  const { code, stdout, stderr } = await sql(`select set_config('role', 'none', true), ${attempt}`)
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toContain(refusal)
  expect(stderr.trimEnd()).not.toContain('\n')
})

test('a wrong name in a statement is reported in the words of Postgres, not as a missing migration', async () => {
  expect(await sql('select nope from token_audit.sessions')).toMatchObject({
    code: 2,
    stderr: 'column "nope" does not exist\n',
  })
})
