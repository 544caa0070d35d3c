import { createHash, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'

/** A note, a key or a signature that is not one. */
export class NoteError extends Error {}

/** A public key with the name under which it signs. */
export type VerifierKey = {
  readonly name: string
  readonly publicKey: KeyObject
  /** What the key signs: notes unless given. */
  readonly algorithm?: Algorithm
}

/** The first byte of an encoded key: Ed25519 signatures of notes, and of cosignatures (C2SP tlog-cosignature). */
export const algorithms = { note: 1, cosignature: 4 } as const

type Algorithm = (typeof algorithms)[keyof typeof algorithms]

export type Signature = {
  readonly name: string
  /** The first four bytes of a hash of name and key: a hint which key to try. */
  readonly keyId: number
  readonly bytes: Buffer
}

/** A signed text (C2SP signed-note): lines, an empty line, and a line for each signature. */
export type Note = { readonly text: string; readonly signatures: readonly Signature[] }

/** Where the 32 bytes of a public Ed25519 key begin in its SPKI form. */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex')

/** The key in one line: `name+<key id in hex>+<base64 of the algorithm's byte and the key>`. */
export function formatVerifierKey(key: VerifierKey): string {
  const id = keyIdOf(key).toString(16).padStart(8, '0')
  return `${key.name}+${id}+${encodedKey(key).toString('base64')}`
}

/** @throws {NoteError} when the line is no Ed25519 key of this algorithm, or its id belongs to another key */
export function parseVerifierKey(
  line: string,
  algorithm: Algorithm = algorithms.note,
): VerifierKey {
  const [, name = '', id = '', encoded = ''] = /^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/.exec(line) ?? []
  const bytes = Buffer.from(encoded, 'base64')
  if (bytes.length !== 33 || bytes[0] !== algorithm || bytes.toString('base64') !== encoded)
    throw new NoteError('this is no verifier key: name+00000000+base64, with an Ed25519 key')
  const publicKey = createPublicKey({
    key: Buffer.concat([spkiPrefix, bytes.subarray(1)]),
    format: 'der',
    type: 'spki',
  })
  const key = { name, publicKey, algorithm }
  if (keyIdOf(key) !== Number.parseInt(id, 16))
    throw new NoteError('the id of the verifier key does not belong to the key: a part is missing')
  return key
}

/** The text with the signature of each key below it. */
export function signNote(
  text: string,
  signers: readonly { readonly name: string; readonly privateKey: KeyObject }[],
): string {
  assertText(text)
  const signatures = signers.map(({ name, privateKey }) => ({
    name,
    keyId: keyIdOf({ name, publicKey: createPublicKey(privateKey) }),
    bytes: sign(null, Buffer.from(text), privateKey),
  }))
  return formatNote({ text, signatures })
}

export function formatNote({ text, signatures }: Note): string {
  const lines = signatures.map(({ name, keyId, bytes }) => {
    const id = Buffer.alloc(4)
    id.writeUInt32BE(keyId)
    return `— ${name} ${Buffer.concat([id, bytes]).toString('base64')}\n`
  })
  return `${text}\n${lines.join('')}`
}

/** @throws {NoteError} */
export function parseNote(note: string): Note {
  const end = note.lastIndexOf('\n\n')
  if (end === -1 || !note.endsWith('\n')) throw new NoteError('this is no signed note')
  const text = note.slice(0, end + 1)
  assertText(text)
  const signatures = note
    .slice(end + 2)
    .split('\n')
    .slice(0, -1)
    .map(parseSignature)
  if (signatures.length === 0) throw new NoteError('the note has no signature')
  return { text, signatures }
}

export function parseSignature(line: string): Signature {
  const [, name = '', encoded = ''] = /^— ([^+\s]+) (\S+)$/.exec(line) ?? []
  const bytes = Buffer.from(encoded, 'base64')
  if (bytes.length < 5 || bytes.toString('base64') !== encoded)
    throw new NoteError('a signature line of the note cannot be read')
  return { name, keyId: bytes.readUInt32BE(0), bytes: bytes.subarray(4) }
}

/**
 * The text of a note that one of these keys has signed. Signatures of unknown keys are skipped.
 *
 * @throws {NoteError} when no known key has signed it, or the signature of a known key is wrong
 */
export function openNote(note: string, keys: readonly VerifierKey[]): string {
  const { text, signatures } = parseNote(note)
  let isSigned = false
  for (const { name, keyId, bytes } of signatures) {
    const key = keys.find((one) => one.name === name && keyIdOf(one) === keyId)
    if (key === undefined) continue
    if (!verify(null, Buffer.from(text), key.publicKey, bytes))
      throw new NoteError(`the signature of ${name} is wrong: the note was changed`)
    isSigned = true
  }
  if (!isSigned) throw new NoteError('no given key has signed this note')
  return text
}

/** Whether the note, which was opened before, has a line of each of these keys. */
export function isSignedByAll(note: string, keys: readonly VerifierKey[]): boolean {
  const ids = new Set(parseNote(note).signatures.map(({ keyId }) => keyId))
  return keys.every((key) => ids.has(keyIdOf(key)))
}

export function keyIdOf(key: VerifierKey): number {
  return createHash('sha256')
    .update(`${key.name}\n`)
    .update(encodedKey(key))
    .digest()
    .readUInt32BE(0)
}

function encodedKey({ publicKey, algorithm = algorithms.note }: VerifierKey): Buffer {
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(spkiPrefix.length)
  return Buffer.concat([Buffer.of(algorithm), raw])
}

/** Control characters would let two texts look the same. */
function assertText(text: string): void {
  // eslint-disable-next-line no-control-regex
  if (!text.endsWith('\n') || /[\u0000-\u0009\u000b-\u001f\u007f\ufffd]/.test(text))
    throw new NoteError('the text of a note is lines without control characters')
}
