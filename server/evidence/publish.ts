import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { LogDatabase } from '../../db/evidence/log.ts'
import type { SignedCheckpoint } from './sign-checkpoints.ts'
import { readStoredEntries, readStoredTile } from './stored-tiles.ts'
import { entriesPath, tilePath, tilesOf } from './tiles.ts'

/**
 * Writes the tree of files that `GET /ledger/…` serves. Tiles never change, so those that are there stay as they are.
 * The checkpoint comes last: what it promises is there by then.
 *
 * @returns how many files were written
 */
export async function publishLog(
  database: LogDatabase,
  { size, note }: SignedCheckpoint,
  folder: string,
): Promise<number> {
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
  const file = path.join(folder, 'checkpoint')
  if ((await isThere(file)) && (await readFile(file, 'utf8')) === note) return written
  await write(file, Buffer.from(note))
  return written + 1
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
