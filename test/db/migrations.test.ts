import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import postgres from 'postgres'
import { expect, inject, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { isMigrated, migrate } from '../../db/migrate.ts'
import { asAdmin, databaseUrl } from '../support/admin.ts'
import { cli } from '../support/cli.ts'

type Entry = { idx: number; when: number; tag: string }

test('migrate builds the whole schema from nothing, and has nothing to do the second time', async () => {
  await using empty = await emptyDatabase()
  await migrate(empty.url)
  const first = await empty.applied()
  await migrate(empty.url)
  expect(await empty.applied()).toEqual(first)
  expect(first).toHaveLength((await journal()).length)
  const database = connect(empty.url, { role: 'token_ledger_app', maxConnections: 1 })
  expect(await isMigrated(database)).toBe(true)
  await database.close()
})

test('four processes migrate at once: all succeed, and each migration is applied once', async () => {
  await using empty = await emptyDatabase()
  const outcomes = await Promise.all(Array.from({ length: 4 }, () => cli(empty.url, ['migrate'])))
  for (const { code, stderr } of outcomes)
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'the schema is up to date\n' })
  expect(await empty.applied()).toHaveLength((await journal()).length)
})

test('the journal is in order of time, because a later migration with an earlier date would be skipped', async () => {
  const entries = await journal()
  expect(entries.map(({ idx }) => idx)).toEqual(entries.map((_, i) => i))
  const times = entries.map(({ when }) => when)
  expect(times).toEqual([...new Set(times)].toSorted((a, b) => a - b))
  const files = (await readdir('drizzle')).filter((name) => name.endsWith('.sql')).toSorted()
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

async function emptyDatabase() {
  const { adminUrl, template } = inject('testDatabases')
  const name = template.replace(/template$/, `empty_${randomUUID().slice(0, 8)}`)
  await asAdmin(adminUrl, (admin) => admin`create database ${admin(name)}`)
  const url = databaseUrl(adminUrl, name)
  return {
    url,
    async applied() {
      const sql = postgres(url, { max: 1, onnotice: () => {} })
      const rows =
        await sql`select hash, created_at from token_ledger_migrations.applied order by id`
      await sql.end()
      return [...rows]
    },
    [Symbol.asyncDispose]: () =>
      asAdmin(adminUrl, (admin) => admin`drop database if exists ${admin(name)} with (force)`),
  }
}
