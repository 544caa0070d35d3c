import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { startEmbeddedPostgres } from '../../server/embedded-postgres/start.ts'
import { socketUrl } from '../../server/embedded-postgres/client.ts'
import { asAdmin, databaseUrl, dropDatabase } from '../support/admin.ts'
import { cli } from '../support/cli.ts'
import { makeQuickFolder } from '../support/quick-folder.ts'
import { run } from '../support/run.ts'

const commands = [
  ['user', 'create', '--email', 'a@example.com'],
  ['user', 'disable', 'a@example.com'],
  ['user', 'erase', 'a@example.com'],
  ['sessions', 'list', '--user', 'a@example.com'],
  ['sessions', 'revoke-user', 'a@example.com', '--reason', 'drill'],
  ['ledger', 'verify'],
  ['ledger', 'archive', '--before', '2026-02-01', '--to', '/nowhere/archive.jsonl'],
  ['keys', 'rotate'],
  ['sql', 'select * from token_audit.sessions'],
]
const unmigrated = {
  code: 2,
  stdout: '',
  stderr: 'the database is not migrated: run `token-ledger migrate`\n',
}

function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'token-ledger-none-'))
  // Also for the user as whom Postgres runs when root starts it.
  chmodSync(folder, 0o711)
  return folder
}

test.each(commands)(
  'in a folder without a ledger, %s %s says so and creates none',
  async (...args) => {
    const folder = emptyFolder()
    const outcome = await run('server/cli/main.ts', args, { env: { DATA_DIR: folder } })
    expect(outcome).toEqual({
      code: 2,
      stdout: '',
      stderr: `no ledger in ${folder}: run npm start or \`token-ledger migrate\`\n`,
    })
    expect(readdirSync(folder)).toEqual([])
  },
)

test.each(commands)(
  'on a database that is not migrated, %s %s says so without SQL',
  async (...args) => {
    await using empty = await emptyDatabase()
    expect(await cli(empty.url, args)).toEqual(unmigrated)
  },
)

test('a Postgres without the roles of this service counts as not migrated', async () => {
  const dataDir = makeQuickFolder('token-ledger-none-')
  chmodSync(dataDir, 0o711)
  const postgres = await startEmbeddedPostgres({ dataDir })
  try {
    expect(await cli(postgres.url, ['ledger', 'verify'])).toEqual(unmigrated)
  } finally {
    await postgres.stop()
    rmSync(dataDir, { recursive: true })
  }
})

test('a socket that does not exist is named by its path on disk', async () => {
  const folder = join(emptyFolder(), 'socket')
  const outcome = await cli(socketUrl({ socketFolder: folder, password: 'none' }, 'token_ledger'), [
    'ledger',
    'verify',
  ])
  expect(outcome.stderr).toBe(`cannot use the database token_ledger at ${folder}: ENOENT\n`)
})

async function emptyDatabase(): Promise<AsyncDisposable & { url: string }> {
  const { adminUrl, template } = inject('testDatabases')
  const name = template.replace(/template$/, randomUUID().replaceAll('-', '').slice(0, 16))
  await asAdmin(adminUrl, (admin) => admin`create database ${admin(name)}`)
  return {
    url: databaseUrl(adminUrl, name),
    async [Symbol.asyncDispose]() {
      await asAdmin(adminUrl, (admin) => dropDatabase(admin, name))
    },
  }
}
