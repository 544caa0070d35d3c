import { execFile } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { isMigrated, migrate } from '../../db/migrate.ts'
import { emptyDatabase, type FreshDatabase } from '../support/database.ts'
import { cli } from '../support/run.ts'

type Entry = { idx: number; when: number; tag: string }

test('from nothing to the newest schema, and again: nothing to do', async () => {
  await using empty = await emptyDatabase()
  await migrate(empty.url)
  const first = await applied(empty)
  await migrate(empty.url)
  expect(await applied(empty)).toEqual(first)
  expect(first).toHaveLength((await journal()).length)
  const database = connect(empty.url, { role: 'token_ledger_app', maxConnections: 1 })
  expect(await isMigrated(database)).toBe(true)
  await database.close()
})

test('four processes at once: each is content, and each migration is applied once', async () => {
  await using empty = await emptyDatabase()
  const outcomes = await Promise.all(Array.from({ length: 4 }, () => cli(empty.url, ['migrate'])))
  for (const { code, stderr } of outcomes)
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'the schema is up to date\n' })
  expect(await applied(empty)).toHaveLength((await journal()).length)
})

test('the journal is in the order of time: a late one with an early date would be skipped', async () => {
  const entries = await journal()
  expect(entries.map(({ idx }) => idx)).toEqual(entries.map((_, i) => i))
  const times = entries.map(({ when }) => when)
  expect(times).toEqual([...new Set(times)].toSorted((a, b) => a - b))
  const files = (await readdir('drizzle')).filter((name) => name.endsWith('.sql')).toSorted()
  expect(files).toEqual(entries.map(({ tag }) => `${tag}.sql`))
  for (const [i, { tag }] of entries.entries())
    expect(tag).toMatch(new RegExp(`^${String(i).padStart(4, '0')}_[a-z_]+$`))
})

test('every migration says on its first line what it is for', async () => {
  for (const { tag } of await journal()) {
    const sql = await readFile(`drizzle/${tag}.sql`, 'utf8')
    expect(sql).toMatch(/^-- \S.{20,}/)
  }
})

test('the schema in TypeScript and the migrations say the same', async () => {
  // In a copy: a difference would be written down as a new migration.
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
