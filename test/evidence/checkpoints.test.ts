import { execFile } from 'node:child_process'
import type { KeyObject } from 'node:crypto'
import { mkdtempSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { pino } from 'pino'
import { connect } from '../../db/connection/connect.ts'
import { formatCheckpoint, openCheckpoint } from '../../server/evidence/checkpoint.ts'
import { isConsistent, proveConsistency, rootOf } from '../../server/evidence/merkle.ts'
import { createCheckpointSigner, verifierKeyOf } from '../../server/evidence/sign-checkpoints.ts'
import { formatVerifierKey, signNote } from '../../server/evidence/signed-note.ts'
import { subtreesFrom, tilePath, unpackEntries } from '../../server/evidence/tiles.ts'
import { createGrowingTree } from '../../server/evidence/growing-tree.ts'
import { addLogKey, loadLogKeys } from '../../server/tokens/log-keys.ts'
import { blocksOf, readPage } from '../docs/pages.ts'
import { serviceUrl } from '../support/admin.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { cli } from '../support/cli.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { auth, query } from '../support/http.ts'
import { startLedger } from '../support/ledger.ts'
import { completeLog, makeIdentity } from '../support/log.ts'
import { metricsOf } from '../support/metrics.ts'
import { freePort, testSecret } from '../support/server.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

const shell = promisify(execFile)
const token = 'a-token-of-an-outsider'
const folder = mkdtempSync(join(tmpdir(), 'token-ledger-evidence-'))

let app: TestApp

beforeAll(async () => {
  app = await startApp({ LEDGER_TOKEN: token })
  await app.owner.ownerSql`
    insert into token_ledger.admin_action (action) select 'user_created' from generate_series(1, 300)`
  const user = await makeUser(app.owner.url)
  await auth(app.url, 'login', { email: user.email, password: testPassword, transport: 'body' })
  await completeLog(app.owner)
})

afterAll(() => app[Symbol.asyncDispose]())

const get = (path: string, authorization = `Bearer ${token}`) =>
  fetch(`${app.url}/ledger/${path}`, { headers: { authorization } })

/** What the service signs once its newest checkpoint is not of a moment ago. */
async function checkpointOf(size: number): Promise<string> {
  return waitFor(async () => {
    const note = await (await get('checkpoint')).text()
    return note.split('\n')[1] === String(size) && note
  })
}

test('an outsider verifies the served log: signature, tiles, entries and root', async () => {
  const origin = `${new URL(app.url).host}/ledger`
  const key = verifierKeyOf({ origin, privateKey: await keyIn(app.owner) })
  const { size, root } = openCheckpoint(await checkpointOf(301), [key])
  const read = subtreesFrom(size, async (tile) => {
    const answer = await get(tilePath(tile))
    expect(answer.status).toBe(200)
    expect(answer.headers.get('cache-control')).toBe('private, max-age=31536000, immutable')
    return new Uint8Array(await answer.arrayBuffer())
  })
  expect(await rootOf(size, read)).toEqual(root)
  const tree = createGrowingTree()
  for (const path of ['tile/entries/000', 'tile/entries/001.p/45'])
    for (const entry of unpackEntries(Buffer.from(await (await get(path)).arrayBuffer())))
      tree.add(entry)
  expect(tree.root()).toEqual(root)
  const older = { size: 256, root: await rootOf(256, read) }
  const proof = await proveConsistency(256, size, read)
  expect(isConsistent(older, { size, root }, proof)).toBe(true)
})

/** The log's key, which the service shares with everything that has its secret. */
async function keyIn({ url }: FreshDatabase): Promise<KeyObject> {
  const database = connect(serviceUrl(url), { role: 'token_ledger_app' })
  const { privateKeys } = await loadLogKeys(database, [testSecret])
  await database.close()
  return privateKeys[0]!
}

async function addLockedKey({ url }: FreshDatabase): Promise<void> {
  const database = connect(serviceUrl(url), { role: 'token_ledger_app' })
  await addLogKey(database, ['a secret that was lost'])
  await database.close()
}

test('the checkpoint is not cached, and what is not there is 404: without the token, too', async () => {
  const answer = await get('checkpoint')
  expect(answer.headers.get('cache-control')).toBe('no-store')
  expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8')
  const paths = [
    'tile/0/001',
    'tile/0/001.p/46',
    'tile/entries/007',
    'tile/9/000',
    'tile/0/1',
    'tile/0/x',
  ]
  for (const path of paths) expect([path, (await get(path)).status]).toEqual([path, 404])
  for (const path of ['checkpoint', 'tile/0/000'])
    expect((await get(path, 'Bearer another')).status).toBe(404)
})

test('an admin sees the newest checkpoint, and how far the log is behind', async () => {
  const { email } = await makeUser(app.owner.url, undefined, 'admin')
  const { data } = await auth(app.url, 'login', {
    email,
    password: testPassword,
    transport: 'body',
  })
  await waitFor(async () => {
    const { data: seen } = await query(app.url, 'admin.ledger.checkpoint', data.accessToken)
    expect(seen).toEqual({
      checkpoint: {
        size: expect.any(Number) as number,
        root: expect.stringMatching(/^.{43}=$/) as string,
        note: expect.stringContaining('\n— ') as string,
        signedAt: expect.stringMatching(/Z$/) as string,
      },
      refusal: null,
      behindMs: expect.any(Number) as number,
    })
    return seen.checkpoint.size === 302 && seen.behindMs === 0
  })
})

test(
  'the commands publish, prove and verify; openssl alone checks the signature',
  { timeout: 120_000 },
  async () => {
    const { url, ownerSql } = app.owner
    const to = join(folder, 'published')
    const published = await cli(url, ['ledger', 'publish', '--to', to])
    expect(published).toMatchObject({ code: 0 })
    const tile = join(to, 'tile/0/000')
    const before = statSync(tile).mtimeMs
    const line = (await cli(url, ['keys', 'log'])).stdout.trim()
    const again = await cli(url, ['ledger', 'publish', '--to', to])
    expect(again.stderr).toContain('0 files written')
    expect(statSync(tile).mtimeMs).toBe(before)

    const checkpoint = join(to, 'checkpoint')
    const verified = await cli(url, ['ledger', 'verify', '--checkpoint', checkpoint, '--key', line])
    expect(verified).toMatchObject({ code: 0, stdout: '' })

    const [event] =
      await ownerSql`select family_id, encode(hash, 'hex') as hash from token_ledger.token_event`
    const proved = await cli(url, ['ledger', 'prove', `${event!.family_id}:1`])
    const proof = join(folder, 'event.tlog-proof')
    writeFileSync(proof, proved.stdout)
    const holds = await cli(null, ['ledger', 'verify-proof', proof, '--key', line])
    expect(holds.stdout).toContain(`${event!.hash} is leaf `)

    const exported = join(folder, 'export.jsonl')
    writeFileSync(exported, (await cli(url, ['ledger', 'export'])).stdout)
    const log = ['--log', to, '--key', line]
    expect(await cli(null, ['ledger', 'verify-export', exported, ...log])).toMatchObject({
      code: 0,
    })
    const kept = join(folder, 'kept')
    const beside = ['ledger', 'verify-export', exported, ...log, '--checkpoint', kept]
    writeFileSync(kept, readFileSync(checkpoint))
    expect(await cli(null, beside)).toMatchObject({ code: 0 })
    const [origin = ''] = line.split('+')
    const privateKey = await keyIn(app.owner)
    for (const [size, problem] of [
      [5, 'the first 5 published entries are not those of the checkpoint'],
      [1_000, /^the published log has \d+ leaves; the checkpoint has 1000$/m],
    ] as const) {
      const text = formatCheckpoint({ origin, size, root: Buffer.alloc(32, 1) })
      writeFileSync(kept, signNote(text, [{ name: origin, privateKey }]))
      const forked = await cli(null, beside)
      expect([forked.code, forked.stderr]).toEqual([1, expect.stringMatching(problem) as string])
    }
    writeFileSync(exported, readFileSync(exported, 'utf8').replace(event!.hash, 'f'.repeat(64)))
    const foreign = await cli(null, ['ledger', 'verify-export', exported, ...log])
    expect(foreign).toMatchObject({ code: 1 })
    expect(foreign.stdout).toContain(`${event!.family_id}  event 1  is not in the log`)

    const block = blocksOf(readPage('docs/guides/audit.md')).find(({ text }) =>
      text.includes('openssl'),
    )
    const bothKeys = (await cli(url, ['keys', 'log', '--add'])).stdout.trim().split('\n')
    expect(bothKeys).toEqual([line, expect.stringContaining(`${origin}+`)])
    const { stdout: signedByBoth } = await cli(url, ['ledger', 'checkpoint'])
    writeFileSync(join(folder, 'checkpoint'), signedByBoth)
    for (const vkey of bothKeys) {
      const script = block!.text.replace(/^vkey=.*$/m, `vkey='${vkey}'`)
      const { stdout } = await shell('bash', ['-euc', script], { cwd: folder })
      expect(stdout).toContain('Signature Verified Successfully')
    }

    writeFileSync(join(folder, 'changed'), readFileSync(checkpoint, 'utf8').replace(/^\d+$/m, '7'))
    const proofPath = (name: string, text: string) => {
      writeFileSync(join(folder, name), text)
      return join(folder, name)
    }
    const beyond = proofPath('beyond', proved.stdout.replace(/^index \d+$/m, 'index 999999'))
    const cut = proofPath('cut', proved.stdout.slice(0, 40))
    const { privateKey: another } = makeIdentity()
    const elsewhere = formatVerifierKey(verifierKeyOf(makeIdentity()))
    const wrong = formatVerifierKey(verifierKeyOf({ origin, privateKey: another }))
    truncateSync(join(to, 'tile/entries/000'), 1_000)
    const bad: [args: string[], code: number, problem: string][] = [
      [
        ['verify', '--checkpoint', join(folder, 'changed'), '--key', line],
        1,
        'the note was changed',
      ],
      [
        ['verify', '--checkpoint', checkpoint, '--key', elsewhere],
        1,
        'a checkpoint of another log',
      ],
      [['verify', '--checkpoint', checkpoint, '--key', wrong], 1, 'no given key has signed'],
      [['verify', '--checkpoint', checkpoint, '--key', 'nonsense'], 1, 'this is no verifier key'],
      [['verify', '--checkpoint', checkpoint], 3, '--key is required'],
      [['verify-export', exported, ...log], 1, 'cut off'],
      [['verify-proof', cut, '--key', line], 1, 'this is no proof'],
      [['verify-proof', beyond, '--key', line], 1, 'the log has no leaf 999999'],
      [['verify-proof', join(folder, 'missing'), '--key', line], 3, 'cannot read'],
      [['prove', `${event!.family_id}:99`], 1, 'the log has no such event'],
    ]
    const failed = await Promise.all(bad.map(([args]) => cli(url, ['ledger', ...args])))
    for (const [i, { code, stderr }] of failed.entries()) {
      const [args, expectedCode, problem] = bad[i]!
      expect([args, code, stderr]).toEqual([
        args,
        expectedCode,
        expect.stringContaining(problem) as string,
      ])
      expect(stderr.trim().split('\n').length).toBeLessThanOrEqual(expectedCode === 3 ? 2 : 1)
    }
  },
)

test('LE-12: a checkpoint that the log does not continue keeps the next from being signed, until an operator overrules it', async () => {
  await using ledger = await startLedger()
  const identity = makeIdentity()
  const user = await ledger.makeUser()
  await ledger.start(user)
  await completeLog(ledger.owner)
  const { database } = ledger
  const honest = await createCheckpointSigner(database, identity).current()
  const noteOf = (size: number, root: Buffer) =>
    signNote(formatCheckpoint({ origin: identity.origin, size, root }), [
      { name: identity.origin, privateKey: identity.privateKey },
    ])
  const signWith = (shown: string) =>
    createCheckpointSigner(database, identity, { shown }).current()
  const larger = noteOf(9, Buffer.alloc(32, 1))
  await expect(signWith(larger)).rejects.toThrow(
    'the log has 1 leaves, and a checkpoint of 9 was signed',
  )
  await expect(signWith(noteOf(1, Buffer.alloc(32, 1)))).rejects.toThrow(
    'the first 1 leaves are not those of a checkpoint that was signed',
  )
  await expect(signWith('nonsense\n')).rejects.toThrow('LAST_CHECKPOINT: this is no signed note')
  expect((await signWith(honest.note)).note).toBe(honest.note)
  const reason = `9 ${Buffer.alloc(32, 1).toString('base64')}: a test restored a copy`
  await ledger.owner.ownerSql`
    insert into token_ledger.admin_action (action, reason) values ('checkpoint_overruled', ${reason})`
  await completeLog(ledger.owner)
  expect((await signWith(larger)).size).toBe(2)
  const kept = await ledger.owner.ownerSql`select size from token_audit.checkpoints order by size`
  expect(kept.map((row) => Number(row.size))).toEqual([1, 2])
})

test('LE-29: a copy restored from before signs nothing: the log, /metrics and /readyz have it, and /readyz names a locked key', async () => {
  const owner = await freshDatabase()
  const port = String(await freePort())
  const origin = `127.0.0.1:${port}/ledger`
  const privateKey = await keyIn(owner)
  const shown = signNote(formatCheckpoint({ origin, size: 50, root: Buffer.alloc(32, 1) }), [
    { name: origin, privateKey },
  ])
  await addLockedKey(owner)
  const lines: unknown[] = []
  const write = (line: string) => void lines.push((JSON.parse(line) as { msg: string }).msg)
  const logger = pino({ level: 'error' }, { write })
  const env = { PORT: port, LEDGER_PUBLIC: 'allow', LAST_CHECKPOINT: shown }
  await using copy = await startApp(env, { owner, logger })
  await waitFor(() => lines.length > 0)
  expect(lines).toEqual(['no checkpoint is signed'])
  expect((await fetch(`${copy.url}/ledger/checkpoint`)).status).toBe(503)
  const ready = await (await fetch(`${copy.url}/readyz`)).json()
  expect(ready).toMatchObject({
    status: 'ready',
    warnings: ['checkpoint_refused', 'log_key_locked'],
  })
  expect(await metricsOf(copy.url)).toContain('token_ledger_checkpoint_refused 1')
})
