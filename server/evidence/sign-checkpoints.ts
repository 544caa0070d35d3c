import { createPublicKey, type KeyObject } from 'node:crypto'
import {
  insertCheckpoint,
  isOverruled,
  readCheckpoints,
  type StoredCheckpoint,
} from '../../db/evidence/checkpoints.ts'
import { readLogSize, type LogDatabase } from '../../db/evidence/log.ts'
import { formatCheckpoint, openCheckpoint, readUnsigned, type Checkpoint } from './checkpoint.ts'
import { rootOf } from './merkle.ts'
import { isSignedByAll, NoteError, signNote, type VerifierKey } from './signed-note.ts'
import { storedSubtrees } from './stored-tiles.ts'
import { WitnessError, type Witness } from './witness.ts'

/** The log does not continue a checkpoint that was signed: nothing is signed until an operator has decided. */
export class CheckpointRefused extends Error {}

/** A newer checkpoint is not signed within this time: each one is kept. */
const signEveryMs = 1_000
/** The same where a witness is asked each time. */
const witnessedEveryMs = 10_000

/** Stored checkpoints that are looked at, in case the newest ones are of another `PUBLIC_URL` or not signed at all. */
const maxStored = 20

export type LogIdentity = {
  /** The log's name: host and path of its address, without a scheme. */
  readonly origin: string
  readonly privateKey: KeyObject
  /** Keys that an operator has added: each of them signs as well. */
  readonly addedKeys?: readonly KeyObject[]
}

export type SignedCheckpoint = Checkpoint & Pick<StoredCheckpoint, 'note' | 'signedAt'>

export type CheckpointSigner = {
  /**
   * The newest checkpoint. A new one is signed if the log has grown since.
   *
   * @throws {CheckpointRefused}
   */
  current(): Promise<SignedCheckpoint>
  /** The size of the last checkpoint that this process signed or read. */
  size(): number
}

export type SignerOptions = {
  /** A note that the operator kept outside of the database (`LAST_CHECKPOINT`). */
  readonly shown?: string | null
  /** Cosigns each new checkpoint. Without its cosignature, the checkpoint is published all the same. */
  readonly witness?: Witness | null
  readonly onUnwitnessed?: (error: WitnessError) => void
}

export function createCheckpointSigner(
  database: LogDatabase,
  identity: LogIdentity,
  { shown = null, witness = null, onUnwitnessed = () => {} }: SignerOptions = {},
): CheckpointSigner {
  const pauseMs = witness === null ? signEveryMs : witnessedEveryMs
  const keys = verifierKeysOf(identity)
  let last: SignedCheckpoint | null = null
  let lastAt = -Infinity
  let running: Promise<SignedCheckpoint> | null = null

  async function sign(): Promise<SignedCheckpoint> {
    if (last !== null && performance.now() - lastAt < pauseMs) return last
    const found = await readCheckpoints(database, maxStored)
    const stored = newestOf(found, (note) => openCheckpoint(note, keys))
    const newest = newestOf(found, (note) => readUnsigned(note, identity.origin))
    const size = await readLogSize(database)
    const others = new Map([last, stored, newest].map((one) => [one?.note, one]))
    for (const before of [openShown(shown, keys), ...others.values()])
      if (before) await assertContinues(database, size, before)
    last =
      stored?.size === size && isSignedByAll(stored.note, keys)
        ? await witnessed(stored)
        : await signNew(size)
    lastAt = performance.now()
    return last
  }

  async function signNew(size: number): Promise<SignedCheckpoint> {
    const root = await rootOf(size, storedSubtrees(database, size))
    const checkpoint = { origin: identity.origin, size, root }
    const note = signNote(formatCheckpoint(checkpoint), signersOf(identity))
    return store(checkpoint, note + ((await cosignatureOf({ size, note })) ?? ''))
  }

  /** The stored checkpoint, with a cosignature if the witness was away when it was signed. */
  async function witnessed(stored: SignedCheckpoint): Promise<SignedCheckpoint> {
    if (witness === null || witness.hasCosigned(stored.note)) return stored
    const cosignature = await cosignatureOf(stored)
    return cosignature === null ? stored : store(stored, stored.note + cosignature)
  }

  async function store(checkpoint: Checkpoint, note: string): Promise<SignedCheckpoint> {
    const { origin, size, root } = checkpoint
    const { signedAt } = await insertCheckpoint(database, { size, root, note })
    return { origin, size, root, note, signedAt }
  }

  async function cosignatureOf(checkpoint: { size: number; note: string }): Promise<string | null> {
    try {
      const read = storedSubtrees(database, checkpoint.size)
      return (await witness?.cosign(checkpoint, read)) ?? null
    } catch (error) {
      if (!(error instanceof WitnessError)) throw error
      onUnwitnessed(error)
      return null
    }
  }

  return {
    current: () => (running ??= sign().finally(() => (running = null))),
    size: () => last?.size ?? 0,
  }
}

/** The public half of the log's first key, under the log's name. */
export function verifierKeyOf({ origin, privateKey }: LogIdentity): VerifierKey {
  return { name: origin, publicKey: createPublicKey(privateKey) }
}

/** Of all its keys, the oldest first. */
export function verifierKeysOf(identity: LogIdentity): VerifierKey[] {
  return signersOf(identity).map(({ name, privateKey }) => ({
    name,
    publicKey: createPublicKey(privateKey),
  }))
}

function signersOf({ origin, privateKey, addedKeys = [] }: LogIdentity) {
  return [privateKey, ...addedKeys].map((key) => ({ name: origin, privateKey: key }))
}

/** By `PUBLIC_URL`: host and path of the log's address. */
export function logOriginOf(publicUrl: string): string {
  return `${new URL(publicUrl).host}/ledger`
}

/** @throws {CheckpointRefused} unless the log of `size` leaves begins with the one of the checkpoint */
async function assertContinues(
  database: LogDatabase,
  size: number,
  before: Checkpoint,
): Promise<void> {
  const problem =
    before.size > size
      ? `the log has ${size} leaves, and a checkpoint of ${before.size} was signed`
      : (await rootOf(before.size, storedSubtrees(database, before.size))).equals(before.root)
        ? null
        : `the first ${before.size} leaves are not those of a checkpoint that was signed`
  if (problem !== null && !(await isOverruled(database, before)))
    throw new CheckpointRefused(problem)
}

/** The first that can be opened. */
function newestOf(
  stored: readonly StoredCheckpoint[],
  open: (note: string) => Checkpoint,
): SignedCheckpoint | null {
  for (const { note, signedAt } of stored)
    try {
      return { ...open(note), note, signedAt }
    } catch (error) {
      if (!(error instanceof NoteError)) throw error
    }
  return null
}

function openShown(shown: string | null, keys: readonly VerifierKey[]): Checkpoint | null {
  if (shown === null) return null
  try {
    return openCheckpoint(shown, keys)
  } catch (error) {
    if (!(error instanceof NoteError)) throw error
    throw new CheckpointRefused(`LAST_CHECKPOINT: ${error.message}`)
  }
}
