import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { LogDatabase } from '../../db/evidence/log.ts'
import { parseCheckpoint } from './checkpoint.ts'
import { ProofError, rootOf } from './merkle.ts'
import { orNone } from './published.ts'
import type { SignedCheckpoint } from './sign-checkpoints.ts'
import { parseNote } from './signed-note.ts'
import { readStoredEntries, readStoredTile, storedSubtrees } from './stored-tiles.ts'
import { entriesPath, tilePath, tilesOf } from './tiles.ts'

/**
 * Writes the tree of files that `GET /ledger/…` serves. Tiles never change, so those that are there stay as they are.
 * The checkpoint comes last: what it promises is there by then.
 *
 * @returns how many files were written
 * @throws {ProofError | NoteError} when the folder has a log that this one does not continue: its tiles would stay
 */
export async function publishLog(
  database: LogDatabase,
  checkpoint: SignedCheckpoint,
  folder: string,
): Promise<number> {
  const { size, note } = checkpoint
  const file = path.join(folder, 'checkpoint')
  const published = await orNone(readFile(file, 'utf8'))
  if (published !== null) await assertContinues(database, checkpoint, published)
  let written = 0
  const keep = async (name: string, read: () => Promise<Buffer>) => {
    if (await isThere(path.join(folder, name))) return
    await write(path.join(folder, name), await read())
    written += 1
  }
  for (const tile of tilesOf(size)) {
    await keep(tilePath(tile), () => readStoredTile(database, tile))
    if (tile.level === 0) await keep(entriesPath(tile), () => readStoredEntries(database, tile))
  }
  if (published === note) return written
  await write(file, Buffer.from(note))
  return written + 1
}

async function assertContinues(
  database: LogDatabase,
  { origin, size }: SignedCheckpoint,
  published: string,
): Promise<void> {
  const before = parseCheckpoint(parseNote(published).text)
  const isContinued =
    before.origin === origin &&
    before.size <= size &&
    (await rootOf(before.size, storedSubtrees(database, before.size))).equals(before.root)
  if (!isContinued)
    throw new ProofError('the folder has a log that this one does not continue: take an empty one')
}

async function isThere(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  )
}

/** A reader sees the whole file or none. */
async function write(file: string, bytes: Buffer): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true })
  const draft = `${file}.${process.pid}`
  await writeFile(draft, bytes)
  await rename(draft, file)
}
