import { execFile } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { formatCheckpoint } from '../../server/evidence/checkpoint.ts'
import { hashLeaf } from '../../server/evidence/merkle.ts'
import { publishLog } from '../../server/evidence/publish.ts'
import {
  createCheckpointSigner,
  verifierKeyOf,
  verifierKeysOf,
  type LogIdentity,
} from '../../server/evidence/sign-checkpoints.ts'
import { formatVerifierKey, signNote } from '../../server/evidence/signed-note.ts'
import { loadLogKeys } from '../../server/tokens/log-keys.ts'
import { blocksOf, readPage } from '../docs/pages.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { hasGo } from '../support/go.ts'
import { completeLog, makeIdentity } from '../support/log.ts'
import { testSecret } from '../support/server.ts'
import { waitFor } from '../support/wait.ts'

const shell = promisify(execFile)
const token = 'a-token-of-an-outsider'

const commands = blocksOf(readPage('docs/guides/audit.md')).find(({ text }) =>
  text.includes('go build'),
)!.text

describe.runIf(hasGo)(
  "Go's own packages note and tlog, in the commands of the auditor's page",
  () => {
    let folder = ''
    let published = ''
    let app: TestApp
    let identity: LogIdentity
    let vkey: string

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'token-ledger-go-'))
      published = join(folder, 'published')
      app = await startApp({ LEDGER_TOKEN: token })
      const { privateKeys } = await loadLogKeys(app.database, [testSecret])
      identity = {
        origin: `${new URL(app.url).host}/ledger`,
        privateKey: privateKeys[0]!,
        addedKeys: [makeIdentity().privateKey],
      }
      vkey = formatVerifierKey(verifierKeyOf(identity))
      await grow(40)
      writeFileSync(join(folder, 'checkpoint'), (await sign()).note)
      await grow(261)
      await publishLog(app.database, await sign(), published)
      copyFileSync('test/evidence/check-log.go', join(folder, 'check-log.go'))
      const { problem } = await run(/^.*go build.*$/m.exec(commands)![0])
      if (problem !== '') throw new Error(problem)
    }, 120_000)

    afterAll(() => {
      rmSync(folder, { recursive: true })
      return app[Symbol.asyncDispose]()
    })

    async function grow(by: number): Promise<void> {
      await app.owner.ownerSql`
      insert into token_ledger.admin_action (action)
      select 'user_created' from generate_series(1, ${by}::integer)`
      await completeLog(app.owner)
    }

    const sign = () => createCheckpointSigner(app.database, identity).current()

    /** Runs a command of the page in the folder. */
    async function run(command: string, of = vkey): Promise<{ stdout: string; problem: string }> {
      const env = {
        ...process.env,
        GOCACHE: join(folder, 'cache'),
        GOFLAGS: '',
        vkey: of,
      }
      try {
        const { stdout } = await shell('bash', ['--norc', '-euc', command], { cwd: folder, env })
        return { stdout, problem: '' }
      } catch (error) {
        const { stdout, stderr, code } = error as { stdout: string; stderr: string; code: number }
        expect(code).toBe(1)
        return { stdout, problem: stderr.trim() }
      }
    }

    const good = `signature: good, 301 leaves
consistency: good, from 40 leaves
inclusion: good
root of all entries: good
`

    test('LE-29: verify signature, consistency and inclusion from the served tiles, and the root of all entries', async () => {
      const onService = /^LEDGER_TOKEN.*$/m
        .exec(commands)![0]
        .replace('…', token)
        .replace('https://auth.example.com', app.url)
      await waitFor(async () => (await run(onService)).stdout === good)
      const { problem } = await run(onService.replace(token, 'another'))
      expect(problem).toMatch(/\/ledger\/checkpoint: 404 Not Found$/)
    })

    /** Checks a copy of the published folder, after a change. */
    async function checkChanged(change: (copy: string) => void, of?: string) {
      const copy = mkdtempSync(join(folder, 'copy-'))
      cpSync(published, copy, { recursive: true })
      cpSync(join(folder, 'checkpoint'), join(copy, 'kept'))
      change(copy)
      const command = /^.*file:.*$/m.exec(commands)![0]
      return run(
        command.replace('$PWD/published', copy).replace(/checkpoint$/, join(copy, 'kept')),
        of,
      )
    }

    test('verify the published folder by either of its two keys', async () => {
      for (const key of verifierKeysOf(identity)) {
        const found = await checkChanged(() => {}, formatVerifierKey(key))
        expect(found).toEqual({ stdout: good, problem: '' })
      }
    })

    const noteOf = (size: number, root: Buffer, origin = identity.origin) =>
      signNote(formatCheckpoint({ origin, size, root }), [
        { name: identity.origin, privateKey: identity.privateKey },
      ])

    const entryAt = 7
    const other = Buffer.alloc(32, 1)

    function changeEntry(copy: string): void {
      const file = join(copy, 'tile/entries/000')
      const bytes = readFileSync(file)
      other.copy(bytes, entryAt * 34 + 2)
      writeFileSync(file, bytes)
    }

    function changeTile(copy: string): void {
      const file = join(copy, 'tile/0/000')
      const bytes = readFileSync(file)
      hashLeaf(other).copy(bytes, entryAt * 32)
      writeFileSync(file, bytes)
    }

    test.each<{ what: string; change: (copy: string) => void; says: RegExp }>([
      {
        what: 'a checkpoint whose size was changed',
        change: (copy) => {
          const file = join(copy, 'checkpoint')
          writeFileSync(file, readFileSync(file, 'utf8').replace('\n301\n', '\n300\n'))
        },
        says: /^invalid signature for key/,
      },
      {
        what: 'a changed entry',
        change: changeEntry,
        says: /^the entries are not those of the checkpoint$/,
      },
      {
        what: 'an entry that was changed together with its tile',
        change: (copy) => {
          changeEntry(copy)
          changeTile(copy)
        },
        says: /^the entries are not those of the checkpoint$|^invalid transparency proof$|inconsistent/,
      },
      {
        what: 'entries that are cut off',
        change: (copy) => truncateSync(join(copy, 'tile/entries/001.p/45'), 45 * 34 - 1),
        says: /cut off, or too long$/,
      },
      {
        what: 'a tile that is cut off',
        change: (copy) => truncateSync(join(copy, 'tile/0/001.p/45'), 45 * 32 - 1),
        says: /^TileReader returned bad result slice/,
      },
      {
        what: 'a log that does not continue the kept checkpoint',
        change: (copy) => writeFileSync(join(copy, 'kept'), noteOf(40, other)),
        says: /^invalid transparency proof$/,
      },
      {
        what: 'a log that is smaller than the kept checkpoint',
        change: (copy) => writeFileSync(join(copy, 'kept'), noteOf(1_000, other)),
        says: /^the log has 301 leaves, the kept checkpoint 1000$/,
      },
      {
        what: 'a checkpoint of another log',
        change: (copy) => writeFileSync(join(copy, 'kept'), noteOf(40, other, 'other.example')),
        says: /^a checkpoint of another log: "other.example"$/,
      },
    ])('find $what', async ({ change, says }) => {
      const { problem } = await checkChanged(change)
      expect(problem).toMatch(says)
    })

    test('find a key that has not signed', async () => {
      const another = formatVerifierKey(verifierKeyOf(makeIdentity()))
      const { problem } = await checkChanged(() => {}, another)
      expect(problem).toBe('note has no verifiable signatures')
    })
  },
)
