import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { insertCheckpoint } from '../../db/evidence/checkpoints.ts'
import type { LogDatabase } from '../../db/evidence/log.ts'
import { formatCheckpoint, openCheckpoint } from '../../server/evidence/checkpoint.ts'
import { createCheckpointSigner, verifierKeysOf } from '../../server/evidence/sign-checkpoints.ts'
import { signNote } from '../../server/evidence/signed-note.ts'
import { addLogKey, loadLogKeys } from '../../server/tokens/log-keys.ts'
import { serviceUrl } from '../support/admin.ts'
import { startLedger } from '../support/ledger.ts'
import { completeLog, makeIdentity, whileTampered } from '../support/log.ts'
import { run } from '../support/run.ts'
import { testSecret } from '../support/server.ts'

test('LE-11: a second key signs as well: either key opens new checkpoints, the first one those of before, and none is replaced', async () => {
  await using ledger = await startLedger()
  const { database } = ledger
  await ledger.start(await ledger.makeUser())
  await completeLog(ledger.owner)
  const { origin } = makeIdentity()
  const identityNow = async () => {
    const [privateKey, ...addedKeys] = (await loadLogKeys(database, [testSecret])).privateKeys
    return { origin, privateKey: privateKey!, addedKeys }
  }
  const before = await identityNow()
  const earlier = await createCheckpointSigner(database, before).current()
  await addLogKey(database, [testSecret])
  const after = await identityNow()
  const [first, second] = verifierKeysOf(after)
  expect(verifierKeysOf(before)).toEqual([first])
  const { note } = await createCheckpointSigner(database, after, { shown: earlier.note }).current()
  for (const key of [first!, second!]) expect(openCheckpoint(note, [key]).size).toBe(1)
  expect(() => openCheckpoint(earlier.note, [second!])).toThrow('no given key has signed')
  expect(openCheckpoint(earlier.note, [first!])).toEqual(openCheckpoint(note, [first!]))
  for (const identity of [before, after])
    expect((await createCheckpointSigner(database, identity).current()).note).toBe(note)

  const other = 'another secret that decrypts none of these keys'
  const locked = await loadLogKeys(database, [other])
  expect([locked.privateKeys, locked.lockedKids.length]).toEqual([[], 2])
  for (let i = 2; i < 16; i++) await addLogKey(database, [other])
  await expect(addLogKey(database, [other])).rejects.toThrow('the log has 16 keys already')
  expect((await loadLogKeys(database, [testSecret])).privateKeys).toHaveLength(2)
})

test('after the loss of a key, the first checkpoint of another key has to continue those of the lost one', async () => {
  await using ledger = await startLedger()
  const { database, owner } = ledger
  const [lost, next] = [makeIdentity(), makeIdentity()]
  const user = await ledger.makeUser()
  await ledger.start(user)
  await ledger.start(user)
  await completeLog(owner)
  const first = await createCheckpointSigner(database, lost).current()
  const sign = (from = database as LogDatabase) => createCheckpointSigner(from, next).current()
  const forked = `update token_ledger.log_leaf set hash = sha256('x') where leaf_index = 0`
  const cut = `delete from token_ledger.log_leaf where leaf_index = 1`
  const refusals = [
    [forked, 'the first 2 leaves are not those of a checkpoint that was signed'],
    [cut, 'the log has 1 leaves, and a checkpoint of 2 was signed'],
  ] as const
  for (const [statement, refusal] of refusals)
    await whileTampered(owner, statement, (tampered) =>
      expect(sign(tampered)).rejects.toThrow(refusal),
    )
  const { note, size } = await sign()
  expect([size, note]).toEqual([2, expect.not.stringContaining(first.note.split('\n')[4]!)])

  // A stored note that no key has signed stops signing until an operator overrules it, as any other.
  const root = Buffer.alloc(32, 1)
  const strange = signNote(formatCheckpoint({ ...next, size: 50, root }), [
    { name: next.origin, privateKey: makeIdentity().privateKey },
  ])
  for (const stored of ['no note', strange])
    await insertCheckpoint(database, { size: 50, root, note: stored })
  await expect(sign()).rejects.toThrow('the log has 2 leaves, and a checkpoint of 50 was signed')
  const file = join(mkdtempSync(join(tmpdir(), 'token-ledger-keys-')), 'strange')
  writeFileSync(file, strange)
  const overrule = ['ledger', 'checkpoint', '--overrule', file, '--reason', 'a test stored it']
  const env = {
    AUTH_SECRET: testSecret,
    DATABASE_URL: serviceUrl(owner.url),
    PUBLIC_URL: `https://${next.origin.split('/')[0]}`,
  }
  expect(await run('server/cli/main.ts', overrule, { env })).toMatchObject({ code: 0 })
  await completeLog(owner)
  expect((await sign()).size).toBe(3)
})
