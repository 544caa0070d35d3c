import { execFile } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'vitest'
import { appendLeaves } from '../../db/evidence/log.ts'
import { openCheckpoint } from '../../server/evidence/checkpoint.ts'
import { readPublishedLog } from '../../server/evidence/published.ts'
import { parseVerifierKey } from '../../server/evidence/signed-note.ts'
import { cli } from '../support/cli.ts'
import { fillLedger } from '../support/filled-ledger.ts'
import { startLedger } from '../support/ledger.ts'
import { completeLog } from '../support/log.ts'
import { longTest } from '../support/long.ts'
import { nodeArguments } from '../support/programs.ts'

/** Ends a process that opens a connection. */
const noSockets =
  'data:text/javascript,import net from "node:net"; net.Socket.prototype.connect = () => process.exit(99)'

/** Runs a command without a network: in a namespace that has none, where the user may make one. */
async function offline(args: readonly string[]): Promise<string> {
  const isRoot = process.getuid?.() === 0
  const program = [...nodeArguments('server/cli/main.ts'), ...args]
  const [command, options] = isRoot
    ? ['unshare', ['-n', process.execPath]]
    : [process.execPath, ['--import', noSockets]]
  const { stderr } = await promisify(execFile)(command, [...options, ...program])
  return stderr
}

const counts = (events: number) => `33,334 families, ${events.toLocaleString('en')} events`

longTest(
  'LE-29: an export and the tiles of 100,000 events verify with the network off, and an erased person changes no root',
  { timeout: 600_000 },
  async () => {
    await using ledger = await startLedger()
    const { url, ownerSql } = ledger.owner
    const folder = mkdtempSync(join(tmpdir(), 'token-ledger-large-'))
    const [log, kept, file] = ['log', 'kept', 'export.jsonl'].map((name) => join(folder, name))
    const person = await ledger.makeUser()
    const publish = () => cli(url, ['ledger', 'publish', '--to', log!])
    const writeExport = async () =>
      writeFileSync(file!, (await cli(url, ['ledger', 'export'])).stdout)
    try {
      const { id: userId } = await ledger.makeUser()
      await fillLedger(ownerSql, { userId, families: 1_000 })
      // As autovacuum does within a minute: plans that were made for an empty table read all of it for each row.
      await ownerSql`analyze`
      await fillLedger(ownerSql, { userId, families: 32_333 })
      await appendLeaves({ statements: ownerSql })
      await ownerSql`analyze`
      while (((await appendLeaves({ statements: ownerSql })) ?? 0) > 0);
      await ledger.refresh(await ledger.start(person))
      const size = await completeLog(ledger.owner)
      expect(size).toBeGreaterThan(100_000)
      const vkey = (await cli(url, ['keys', 'log'])).stdout.trim()
      const key = parseVerifierKey(vkey)
      const verify = () =>
        offline([
          'ledger',
          'verify-export',
          file!,
          '--log',
          log!,
          '--checkpoint',
          kept!,
          '--key',
          vkey,
        ])
      await publish()
      copyFileSync(join(log!, 'checkpoint'), kept!)
      await writeExport()
      expect(await verify()).toContain(`intact: ${counts(size)}`)

      const erased = await cli(url, ['user', 'erase', person.email])
      expect(erased).toMatchObject({ code: 0 })
      expect(erased.stderr).toContain('1 session ended')
      const compare = ['ledger', 'verify', '--checkpoint', kept!, '--key', vkey]
      expect(await cli(url, compare)).toMatchObject({ code: 0, stdout: '' })
      expect((await publish()).stderr).toMatch(/^\d files written/m)
      await writeExport()
      expect(await verify()).toContain(`intact: ${counts(size + 1)}`)
      const before = openCheckpoint(readFileSync(kept!, 'utf8'), [key])
      const after = openCheckpoint(readFileSync(join(log!, 'checkpoint'), 'utf8'), [key])
      expect(after.size).toBeGreaterThan(before.size)
      expect((await readPublishedLog(log!, after, before)).size()).toBeGreaterThan(100_000)
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)
