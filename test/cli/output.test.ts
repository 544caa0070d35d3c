import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, openSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { table } from '../../server/cli/output.ts'
import { CannotWrite, writeExport } from '../../server/audit/write-export.ts'
import { moveClock, stopClock } from '../support/clock.ts'
import { cli } from '../support/cli.ts'
import { nodeArguments } from '../support/programs.ts'
import { makeMonth, startLedger, tamper, type TestLedger } from '../support/ledger.ts'
import { testSecret } from '../support/server.ts'

const folder = mkdtempSync(join(tmpdir(), 'token-ledger-output-'))
const commands = ['sessions list', 'ledger export', 'sql values(1)', '--help']

let ledger: TestLedger
beforeAll(async () => {
  ledger = await startLedger()
  await makeMonth(ledger.owner, '202601')
  await stopClock(ledger.owner.ownerSql, Date.UTC(2026, 0, 10))
  await ledger.start(await ledger.makeUser())
  await moveClock(ledger.owner.ownerSql, 0)
})
afterAll(() => ledger[Symbol.asyncDispose]())

/** The command line with a stdout that takes nothing: a pipe without a reader, or this file. */
async function cliInto(
  out: 'closed pipe' | '/dev/full',
  args: readonly string[],
): Promise<{ code: number; stderr: string }> {
  const child = spawn(process.execPath, [...nodeArguments('server/cli/main.ts'), ...args], {
    env: { PATH: process.env.PATH, DATABASE_URL: ledger.owner.url, AUTH_SECRET: testSecret },
    stdio: ['ignore', out === 'closed pipe' ? 'pipe' : openSync(out, 'w'), 'pipe'],
  })
  child.stdout?.destroy()
  const ended = once(child, 'close')
  const stderr = child.stderr === null ? '' : await text(child.stderr)
  const [code] = await ended
  return { code: Number(code), stderr }
}

test.each(commands)('%s to a closed pipe exits 2 without a message', async (command) => {
  expect(await cliInto('closed pipe', command.split(' '))).toEqual({ code: 2, stderr: '' })
})

test.runIf(existsSync('/dev/full')).each(commands)(
  '%s to a full disk exits 2 with one line that does not blame the database',
  async (command) => {
    const stderr = 'cannot write to stdout: ENOSPC: no space left on device\n'
    expect(await cliInto('/dev/full', command.split(' '))).toEqual({ code: 2, stderr })
  },
)

test('a closed stderr changes nothing', async () => {
  const args = [...nodeArguments('server/cli/main.ts'), 'ledger', 'verify', '--json']
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env.PATH, DATABASE_URL: ledger.owner.url },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stderr.destroy()
  const [stdout, [code]] = await Promise.all([text(child.stdout), once(child, 'close')])
  expect(JSON.parse(stdout)).toMatchObject({ intact: true, families: 1 })
  expect(code).toBe(0)
})

test.each([
  ['is there already', join(folder, 'taken.jsonl'), 'EEXIST: file already exists'],
  ['has no folder', join(folder, 'none', 'a.jsonl'), 'ENOENT: no such file or directory'],
])('an archive whose file %s exits 2 and does not blame the database', async (_, file, why) => {
  writeFileSync(join(folder, 'taken.jsonl'), 'kept')
  const args = ['ledger', 'archive', '--before', '2026-02-01', '--to', file]
  expect(await cli(ledger.owner.url, args)).toEqual({
    code: 2,
    stdout: '',
    stderr: `cannot write ${file}: ${why}\n`,
  })
})

test('a disk that fills up during an export stops the reading of the ledger', async () => {
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
    code: 'ENOSPC',
  })
  const out = new Writable({ write: (_chunk, _encoding, done) => setImmediate(done, full) })
  let taken = 0
  const written = writeExport(out, {
    period: { fromAt: null, toAt: null },
    async read(take) {
      for (; taken < 1_000; taken++) {
        await take({ record: 'family', familyId: 'f', userId: 'u' } as never)
        await new Promise(setImmediate)
      }
      return { families: taken, events: 0 }
    },
  })
  await expect(written).rejects.toThrow(new CannotWrite('the export', full))
  expect(taken).toBeLessThan(10)
})

test('a table may have any number of rows', () => {
  const rows = Array.from({ length: 200_000 }, (_, i) => [String(i)])
  expect(table(['n'], rows)).toHaveLength(200_001)
})

test('a broken ledger exits 1 even if the output is not read', async () => {
  await tamper(ledger.owner, `delete from token_ledger.token_event where seq = 1`)
  expect((await cliInto('closed pipe', ['ledger', 'verify'])).code).toBe(1)
})
