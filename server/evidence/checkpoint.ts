import type { Hash } from './merkle.ts'
import { NoteError, openNote, parseNote, type VerifierKey } from './signed-note.ts'

/** The state of a log at one moment: how many leaves it has, and their root. */
export type Checkpoint = {
  /** The log's name: host and path of its address, without a scheme. */
  readonly origin: string
  readonly size: number
  readonly root: Hash
}

/** The text of the note that is signed (C2SP tlog-checkpoint). */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${root.toString('base64')}\n`
}

/**
 * Reads the text of a checkpoint. Lines after the third are extensions, which are allowed and not used here.
 *
 * @throws {NoteError}
 */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = '', size = '', root = ''] = text.split('\n')
  const hash = Buffer.from(root, 'base64')
  const isWhole = origin !== '' && /^(0|[1-9]\d{0,15})$/.test(size)
  if (!isWhole || hash.length !== 32 || hash.toString('base64') !== root)
    throw new NoteError('this is no checkpoint: its lines are an origin, a size and a root')
  return { origin, size: Number(size), root: hash }
}

/**
 * Reads a checkpoint that one of these keys has signed under the log's own name.
 *
 * @throws {NoteError}
 */
export function openCheckpoint(note: string, keys: readonly VerifierKey[]): Checkpoint {
  const { origin } = parseCheckpoint(parseNote(note).text)
  const own = keys.filter(({ name }) => name === origin)
  if (own.length === 0) throw new NoteError(`this is a checkpoint of another log: ${origin}`)
  return parseCheckpoint(openNote(note, own))
}

/**
 * Reads a checkpoint of the log with this name without a look at its signatures: the key that made them may be lost.
 *
 * @throws {NoteError}
 */
export function readUnsigned(note: string, origin: string): Checkpoint {
  const checkpoint = parseCheckpoint(parseNote(note).text)
  if (checkpoint.origin !== origin)
    throw new NoteError(`this is a checkpoint of another log: ${checkpoint.origin}`)
  return checkpoint
}
