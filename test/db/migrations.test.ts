import { execFile } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { isMigrated, migrate } from '../../db/migrate.ts'
import { usualRoles } from '../../db/roles.ts'
import { cli } from '../support/cli.ts'
import { withoutWaits } from '../support/run.ts'
import { emptyDatabase, type FreshDatabase } from '../support/database.ts'

type Entry = { idx: number; when: number; tag: string }

test('migrate builds the whole schema from nothing, and has nothing to do the second time', async () => {
  await using empty = await emptyDatabase()
  await migrate(empty.url, { roles: usualRoles })
  const first = await applied(empty)
  await migrate(empty.url)
  expect(await applied(empty)).toEqual(first)
  expect(first).toHaveLength((await journal()).length)
  const database = connect(empty.url, { role: 'token_ledger_app', maxConnections: 1 })
  expect(await isMigrated(database)).toBe(true)
  await database.close()
})

test('four processes migrate at once: all succeed, and each migration is applied once', async () => {
  await using empty = await emptyDatabase()
  const outcomes = await Promise.all(Array.from({ length: 4 }, () => cli(empty.url, ['migrate'])))
  for (const { code, stderr } of outcomes) {
    expect(code).toBe(0)
    expect(withoutWaits(stderr)).toBe('the schema is up to date\n')
  }
  expect(await applied(empty)).toHaveLength((await journal()).length)
})

test('the journal is in order of time, because a later migration with an earlier date would be skipped', async () => {
  const entries = await journal()
  expect(entries.map(({ idx }) => idx)).toEqual(entries.map((_, i) => i))
  const times = entries.map(({ when }) => when)
  expect(times).toEqual([...new Set(times)].toSorted((a, b) => a - b))
  const files = (await readdir('drizzle')).filter((name) => /^\d.*\.sql$/.test(name)).toSorted()
  expect(files).toEqual(entries.map(({ tag }) => `${tag}.sql`))
  for (const [i, { tag }] of entries.entries())
    expect(tag).toMatch(new RegExp(`^${String(i).padStart(4, '0')}_[a-z_]+$`))
})

test('the first line of every migration says what it is for', async () => {
  for (const { tag } of await journal()) {
    const sql = await readFile(`drizzle/${tag}.sql`, 'utf8')
    expect(sql).toMatch(/^-- \S.{20,}/)
  }
})

/** Written before the rule of the next test. A migration is not edited once it is merged. */
const olderThanTheRule = [
  '0000_ledger_tables',
  '0001_ledger_guards',
  '0002_ledger_partitions',
  '0003_roles_and_grants',
  '0004_audit_views',
  '0005_admin_actions',
  '0006_audit_time_travel',
  '0007_audit_verification',
  '0008_audit_erasure_and_archive',
  '0009_ledger_ends_index',
  '0010_ledger_hashes_inlined',
  '0011_append_unless_changed',
  '0012_event_hash_of_fields',
]

/** Such as `-- An index for X. Older processes may run beside this: yes, because they never name it.` */
const lineOne = /^-- \S.*\. Older processes may run beside this: (?:yes|no), because \S.*\.$/

test('line 1 of a migration says whether processes of the version before may run beside it, and why', async () => {
  const tags = (await journal()).map(({ tag }) => tag)
  expect(tags.slice(0, olderThanTheRule.length)).toEqual(olderThanTheRule)
  const silent: string[] = []
  for (const tag of tags.slice(olderThanTheRule.length)) {
    const [first = ''] = (await readFile(`drizzle/${tag}.sql`, 'utf8')).split('\n')
    if (!lineOne.test(first)) silent.push(`${tag}: ${first}`)
  }
  expect(silent, `line 1 must match ${lineOne}`).toEqual([])
})

test.each([
  [
    '-- An index for X. Older processes may run beside this: yes, because they never name it.',
    true,
  ],
  [
    '-- Splits a column. Older processes may run beside this: no, because they read it whole.',
    true,
  ],
  ['-- An index for X.', false],
  ['-- An index for X. Older processes may run beside this: yes.', false],
  ['CREATE INDEX "x" ON "y";', false],
])('line 1 of a migration: %s', (line, isRight) => {
  expect(lineOne.test(line)).toBe(isRight)
})

test('the TypeScript schema and the migrations agree', async () => {
  // In a copy: a difference would be written as a new migration.
  const folder = await mkdtemp(path.join('.', 'node_modules', '.migrations-'))
  try {
    await cp('drizzle', path.join(folder, 'drizzle'), { recursive: true })
    const bin = path.join('node_modules', 'drizzle-kit', 'bin.cjs')
    const out = `./${path.join(folder, 'drizzle')}`
    const args = ['generate', '--dialect', 'postgresql', '--schema', './db/schema.ts', '--out', out]
    const { stdout } = await promisify(execFile)(process.execPath, [bin, ...args])
    expect(stdout).toContain('No schema changes')
    const names = await readdir(path.join(folder, 'drizzle'))
    expect(names.toSorted()).toEqual((await readdir('drizzle')).toSorted())
  } finally {
    await rm(folder, { recursive: true })
  }
})

async function journal(): Promise<Entry[]> {
  const text = await readFile('drizzle/meta/_journal.json', 'utf8')
  return (JSON.parse(text) as { entries: Entry[] }).entries
}

async function applied({ ownerSql }: FreshDatabase) {
  return [
    ...(await ownerSql`select hash, created_at from token_ledger_migrations.applied order by id`),
  ]
}
