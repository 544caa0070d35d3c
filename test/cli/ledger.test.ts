import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { moveClock, stopClock } from '../support/clock.ts'
import { cli } from '../support/cli.ts'
import { nodeArguments } from '../support/programs.ts'
import { makeMonth, startLedger, tamper, testCaller, type TestLedger } from '../support/ledger.ts'

const hostile = '<script>alert(1)</script>\n\u202egnp.exe\u001b[2J\u2028" '
const folder = mkdtempSync(join(tmpdir(), 'token-ledger-cli-'))

let ledger: TestLedger
let url: string

beforeAll(async () => {
  ledger = await startLedger()
  url = ledger.owner.url
  const user = await ledger.makeUser()
  const caller = { ...testCaller, userAgent: hostile }
  await ledger.refresh(await ledger.start(user, { caller, deviceName: 'lap\ttop\u202e' }))
  await ledger.start(user)
})

afterAll(() => ledger[Symbol.asyncDispose]())

test('a ledger is verified and exported, and the export verifies without a database', async () => {
  const verified = await cli(url, ['ledger', 'verify', '--json'])
  expect(verified).toMatchObject({ code: 0 })
  expect(JSON.parse(verified.stdout)).toEqual({ intact: true, families: 2, events: 3, broken: [] })

  const exported = await cli(url, ['ledger', 'export'])
  expect(exported).toMatchObject({ code: 0, stderr: '2 families, 3 events\n' })
  const lines = exported.stdout.trimEnd().split('\n')
  expect(lines.map((line) => JSON.parse(line).record)).toEqual([
    'export',
    'family',
    'event',
    'event',
    'family',
    'event',
    'end',
  ])
  expect(JSON.parse(lines[2]!).userAgent).toBe(hostile)
  expect(exported.stdout).not.toMatch(/[\p{Cf}\p{Zl}]/u)

  const file = join(folder, 'ledger.jsonl')
  writeFileSync(file, exported.stdout)
  expect(await cli(null, ['ledger', 'verify-export', file])).toMatchObject({
    code: 0,
    stdout: '',
    stderr: 'intact: 2 families, 3 events\n',
  })
})

test('LE-05, V28 (ASVS 16.4.2): an export that was changed or cut exits 1 and names the family and the event', async () => {
  const { stdout } = await cli(url, ['ledger', 'export'])
  const changed = join(folder, 'changed.jsonl')
  writeFileSync(changed, stdout.replace('"generation":1', '"generation":2'))
  const { code, stdout: said } = await cli(null, ['ledger', 'verify-export', changed])
  expect(code).toBe(1)
  expect(said).toMatch(/^[0-9a-f-]{36} {2}event 2 {2}the hash does not match the content\n$/)

  const cut = join(folder, 'cut.jsonl')
  writeFileSync(cut, stdout.split('\n').slice(0, -2).join('\n'))
  expect(await cli(null, ['ledger', 'verify-export', cut])).toMatchObject({
    code: 1,
    stdout: 'the end record is missing: the file was cut off\n',
  })
})

test.each<[string, Record<string, string>]>([
  ['an empty environment', {}],
  ['a bad configuration', { NODE_ENV: 'production', PORT: 'none' }],
])('an export is verified in an empty folder, which stays empty, with %s', async (_what, env) => {
  const { stdout } = await cli(url, ['ledger', 'export'])
  const file = join(folder, 'anywhere.jsonl')
  writeFileSync(file, stdout)
  const cwd = mkdtempSync(join(tmpdir(), 'token-ledger-empty-'))
  const program = nodeArguments('server/cli/main.ts').map((word) =>
    existsSync(word) ? resolve(word) : word,
  )
  const args = [...program, 'ledger', 'verify-export', file]
  const { stderr } = await promisify(execFile)(process.execPath, args, { cwd, env })
  expect(stderr).toBe('intact: 2 families, 3 events\n')
  expect(readdirSync(cwd)).toEqual([])
})

test('an export of a period holds the families that began in it', async () => {
  const tomorrow = new Date(Date.now() + 24 * 3_600_000).toISOString().slice(0, 10)
  const later = await cli(url, ['ledger', 'export', '--from', tomorrow])
  expect(later.stderr).toBe('0 families, 0 events\n')
  const sooner = await cli(url, ['ledger', 'export', '--to', tomorrow])
  expect(sooner.stderr).toBe('2 families, 3 events\n')
})

test('a closed month is archived with its checksum; a month with open families is not, and exits 1', async () => {
  const { ownerSql } = ledger.owner
  await makeMonth(ledger.owner, '202601')
  await stopClock(ownerSql, Date.UTC(2026, 0, 10))
  const user = await ledger.makeUser()
  await ledger.start(user)
  await stopClock(ownerSql, Date.UTC(2026, 1, 2))
  const early = join(folder, 'early.jsonl')
  const late = join(folder, 'late.jsonl')
  const archive = (file: string) =>
    cli(url, ['ledger', 'archive', '--before', '2026-02-01', '--to', file])
  // Used three days ago and valid for four more.
  await stopClock(ownerSql, Date.UTC(2026, 0, 30))
  await ledger.start(user)
  await stopClock(ownerSql, Date.UTC(2026, 1, 2))
  expect(await archive(early)).toMatchObject({
    code: 1,
    stdout: '',
    stderr: 'nothing was archived: families of 202601 that are still open: 1\n',
  })
  await moveClock(ownerSql, 0)
  const archived = await archive(late)
  expect(archived).toMatchObject({ code: 0, stderr: 'archived 202601: 2 families, 2 events\n' })
  const sha256 = createHash('sha256').update(readFileSync(late)).digest('hex')
  expect(archived.stdout).toBe(`${sha256}  ${late}\n`)
  expect(await cli(null, ['ledger', 'verify-export', late])).toMatchObject({ code: 0 })
  expect(await cli(url, ['ledger', 'verify'])).toMatchObject({ code: 0 })
})

test('exit codes: 1 for a problem that was found, 2 for no answer, 3 for wrong usage', async () => {
  const nowhere = 'postgres://nobody@127.0.0.1:1/none'
  expect(await cli(nowhere, ['ledger', 'verify'])).toMatchObject({ code: 2, stdout: '' })
  expect(await cli(null, ['ledger', 'verify-export', join(folder, 'none')])).toMatchObject({
    code: 2,
  })
  expect(await cli(url, ['ledger', 'export', '--from', 'yesterday'])).toMatchObject({ code: 3 })
  expect(await cli(null, ['ledger', 'verify-export'])).toMatchObject({ code: 3 })

  await tamper(ledger.owner, `update token_ledger.token_event set reason = 'x' where false`)
  expect(await cli(url, ['ledger', 'verify'])).toMatchObject({ code: 0 })
  await tamper(ledger.owner, `delete from token_ledger.token_event where seq = 1`)
  const broken = await cli(url, ['ledger', 'verify'])
  expect(broken.code).toBe(1)
  expect(broken.stdout.trimEnd().split('\n')).toHaveLength(2)
  expect(broken.stdout).toContain('event 1 is missing')
  expect(readFileSync(join(folder, 'ledger.jsonl'), 'utf8')).toContain('"record":"end"')
})
