import { openCheckpoint, type Checkpoint } from './checkpoint.ts'
import { hashLeaf, ProofError, rootFromInclusion, type Hash } from './merkle.ts'
import type { VerifierKey } from './signed-note.ts'

/** That one entry is in a log, in a file that needs nothing else to be checked (C2SP tlog-proof). */
export type ProofFile = {
  readonly index: number
  /** The entry that is proven, where the file carries it. */
  readonly entry?: Buffer | undefined
  /** From the leaf upwards. */
  readonly hashes: readonly Hash[]
  /** A signed note. */
  readonly checkpoint: string
}

const firstLine = 'c2sp.org/tlog-proof@v1'

export function formatProofFile({ index, entry, hashes, checkpoint }: ProofFile): string {
  const lines = hashes.map((hash) => `${hash.toString('base64')}\n`)
  const extra = entry === undefined ? '' : `extra ${entry.toString('base64')}\n`
  return `${firstLine}\n${extra}index ${index}\n${lines.join('')}\n${checkpoint}`
}

/** @throws {ProofError} */
export function parseProofFile(file: string): ProofFile {
  const end = file.indexOf('\n\n')
  const [first, ...lines] = file.slice(0, end).split('\n')
  if (end === -1 || first !== firstLine)
    throw new ProofError(`this is no proof: its first line is not ${firstLine}`)
  const extra = /^extra (\S+)$/.exec(lines[0] ?? '')?.[1]
  const [index = '', ...encoded] = extra === undefined ? lines : lines.slice(1)
  const number = /^index (0|[1-9]\d{0,15})$/.exec(index)?.[1]
  const hashes = encoded.map((line) => Buffer.from(line, 'base64'))
  const isWhole = hashes.every(
    (hash, i) => hash.length === 32 && hash.toString('base64') === encoded[i],
  )
  if (number === undefined || !isWhole) throw new ProofError('a line of the proof cannot be read')
  const entry = extra === undefined ? undefined : Buffer.from(extra, 'base64')
  return { index: Number(number), entry, hashes, checkpoint: file.slice(end + 2) }
}

/**
 * Checks that an entry is in the log whose checkpoint the proof contains.
 *
 * @returns that checkpoint
 * @throws {ProofError | NoteError} when it is not, or no given key has signed the checkpoint
 */
export function verifyProofFile(
  entry: Uint8Array,
  file: string,
  keys: readonly VerifierKey[],
): Checkpoint {
  const { index, hashes, checkpoint } = parseProofFile(file)
  const opened = openCheckpoint(checkpoint, keys)
  const root = rootFromInclusion(hashLeaf(entry), { index, size: opened.size }, hashes)
  if (!root.equals(opened.root)) throw new ProofError(`the entry is not leaf ${index} of this log`)
  return opened
}
