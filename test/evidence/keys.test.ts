import { expect, test } from 'vitest'
import { openCheckpoint } from '../../server/evidence/checkpoint.ts'
import { createCheckpointSigner, verifierKeysOf } from '../../server/evidence/sign-checkpoints.ts'
import { addLogKey, loadLogKeys } from '../../server/tokens/log-keys.ts'
import { startLedger } from '../support/ledger.ts'
import { completeLog, makeIdentity } from '../support/log.ts'
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
