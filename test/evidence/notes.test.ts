import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import {
  formatCheckpoint,
  openCheckpoint,
  parseCheckpoint,
} from '../../server/evidence/checkpoint.ts'
import { hashLeaf, emptyRoot } from '../../server/evidence/merkle.ts'
import { formatProofFile, verifyProofFile } from '../../server/evidence/proof-file.ts'
import {
  formatVerifierKey,
  NoteError,
  openNote,
  parseVerifierKey,
  signNote,
} from '../../server/evidence/signed-note.ts'
import { entriesPath, parseTilePath, tilePath, tilesOf } from '../../server/evidence/tiles.ts'
import { packEntries, unpackEntries } from '../../server/evidence/tiles.ts'

/** The example of Go's package golang.org/x/mod/sumdb/note. */
const peter = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'
const wisdom =
  'If you think cryptography is the answer to your problem,\n' +
  "then you don't know what your problem is.\n"
const signedWisdom = `${wisdom}
— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
`

const origin = 'auth.example.com/ledger'

function newKey(name = origin) {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { name, privateKey, publicKey }
}

test('a note that another implementation has signed is opened with its key', () => {
  expect(openNote(signedWisdom, [parseVerifierKey(peter)])).toBe(wisdom)
  expect(formatVerifierKey(parseVerifierKey(peter))).toBe(peter)
})

test('a changed text, a wrong key and a missing signature are refused', () => {
  const key = parseVerifierKey(peter)
  const changed = signedWisdom.replace('answer', 'Answer')
  expect(() => openNote(changed, [key])).toThrow(/the signature of PeterNeumann is wrong/)
  expect(() => openNote(signedWisdom, [newKey('PeterNeumann')])).toThrow(/no given key/)
  expect(() => openNote(`${wisdom}\n`, [key])).toThrow('the note has no signature')
  expect(() => openNote(wisdom, [key])).toThrow('this is no signed note')
  expect(() => openNote('', [key])).toThrow(NoteError)
})

test('LE-12: signatures of unknown keys are skipped, and one wrong signature of a known key spoils the note', () => {
  const [mine, other] = [newKey(), newKey('witness.example.com')]
  const note = signNote('text\n', [mine, other])
  expect(openNote(note, [mine])).toBe('text\n')
  const forged = signNote('text\n', [{ ...newKey(), name: other.name }])
  const lines = forged.split('\n')[2]!.split(' ')
  const id = Buffer.from(note.split('\n')[3]!.split(' ')[2]!, 'base64').subarray(0, 4)
  const bytes = Buffer.concat([id, Buffer.from(lines[2]!, 'base64').subarray(4)])
  const spoiled = `${signNote('text\n', [mine])}— ${other.name} ${bytes.toString('base64')}\n`
  expect(openNote(spoiled, [mine])).toBe('text\n')
  expect(() => openNote(spoiled, [mine, other])).toThrow(/the signature of witness/)
})

test('a verifier key with a part missing or of another algorithm is refused', () => {
  for (const line of [
    peter.slice(0, -4),
    peter.replace('c74f20a3', 'c74f20a4'),
    peter.replace('PeterNeumann', 'Peter'),
    peter.replace('+ARpc', '+BBpc'),
    '',
  ])
    expect(() => parseVerifierKey(line)).toThrow(NoteError)
})

test('LE-12: a checkpoint is read again, and one of another log or with odd lines is refused', () => {
  const key = newKey()
  const checkpoint = { origin, size: 1_234_567, root: hashLeaf(Buffer.from('x')) }
  const note = signNote(formatCheckpoint(checkpoint), [key])
  expect(openCheckpoint(note, [key])).toEqual(checkpoint)
  const elsewhere = signNote(formatCheckpoint({ ...checkpoint, origin: 'other.example' }), [key])
  expect(() => openCheckpoint(elsewhere, [key])).toThrow('of another log: other.example')
  const root = checkpoint.root.toString('base64')
  for (const text of [
    `${origin}\n01\n${root}\n`,
    `${origin}\n-1\n${root}\n`,
    `${origin}\n1\n${root.slice(4)}\n`,
    `\n1\n${root}\n`,
    `${origin}\n1\n`,
  ])
    expect(() => parseCheckpoint(text)).toThrow(NoteError)
})

test('a proof file shows one entry to be in the log, and no other one', () => {
  const key = newKey()
  const entry = Buffer.from('entry')
  const checkpoint = signNote(formatCheckpoint({ origin, size: 1, root: hashLeaf(entry) }), [key])
  const file = formatProofFile({ index: 0, hashes: [], checkpoint })
  expect(verifyProofFile(entry, file, [key]).size).toBe(1)
  expect(() => verifyProofFile(Buffer.from('other'), file, [key])).toThrow('is not leaf 0')
  const longer = formatProofFile({ index: 0, hashes: [emptyRoot], checkpoint })
  expect(() => verifyProofFile(entry, longer, [key])).toThrow('too many hashes')
  for (const spoiled of [file.slice(4), file.replace('index 0', 'index 00'), '', 'x\n\n'])
    expect(() => verifyProofFile(entry, spoiled, [key])).toThrow(/proof/)
})

test('the paths of tiles are those of C2SP tlog-tiles, and only their shortest form is read', () => {
  const tile = { level: 1, index: 1_234_067, width: 256 }
  expect(tilePath(tile)).toBe('tile/1/x001/x234/067')
  expect(tilePath({ level: 0, index: 0, width: 5 })).toBe('tile/0/000.p/5')
  expect(entriesPath({ index: 1_000, width: 256 })).toBe('tile/entries/x001/000')
  expect(parseTilePath('tile/1/x001/x234/067')).toEqual(tile)
  expect(parseTilePath('tile/entries/000.p/255')).toEqual({ entries: { index: 0, width: 255 } })
  for (const path of [
    'tile/01/000',
    'tile/0/x000/001',
    'tile/0/000.p/256',
    'tile/0/000.p/0',
    'tile/0/000.p/05',
    'tile/8/000',
    'tile/0/1',
    'tile/0/../000',
    'tile/entries/x999/x999/x999/x999/x999/x999/999',
  ])
    expect([path, parseTilePath(path)]).toEqual([path, null])
})

test('a log of a size has these tiles', () => {
  expect([...tilesOf(70_000)].map(tilePath).filter((path) => !/^tile\/0\/\d+$/.test(path))).toEqual(
    ['tile/0/273.p/112', 'tile/1/000', 'tile/1/001.p/17', 'tile/2/000.p/1'],
  )
  expect([...tilesOf(0)]).toEqual([])
})

test('entries are packed with their lengths, and a cut-off one is refused', () => {
  const entries = [Buffer.from('a'), Buffer.alloc(32, 7), Buffer.alloc(0)]
  expect(unpackEntries(packEntries(entries))).toEqual(entries)
  expect(() => unpackEntries(packEntries(entries).subarray(0, -3))).toThrow('cut off')
})
