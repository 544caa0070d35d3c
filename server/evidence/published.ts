import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { codeOf } from '../../db/connection/errors.ts'
import type { Checkpoint } from './checkpoint.ts'
import { createGrowingTree } from './growing-tree.ts'
import { createHashSet, type HashSet } from './hash-set.ts'
import { ProofError } from './merkle.ts'
import { entriesPath, tileWidth, unpackEntries } from './tiles.ts'

/**
 * Reads the entries of a published log up to the size of a checkpoint, and computes the root again.
 *
 * @param kept an older checkpoint, which the log has to continue
 * @returns the entries
 * @throws {ProofError} when entries are missing, or are not those of the checkpoint
 */
export async function readPublishedLog(
  folder: string,
  { size, root }: Checkpoint,
  kept: Checkpoint | null = null,
): Promise<HashSet> {
  if (kept !== null && kept.size > size)
    throw new ProofError(`the published log has ${size} leaves; the checkpoint has ${kept.size}`)
  const tree = createGrowingTree()
  const entries = createHashSet()
  for (let index = 0; tree.size < size; index++) {
    const needed = Math.min(tileWidth, size - tree.size)
    const bundle = unpackEntries(await readBundle(folder, { index, needed }))
    if (bundle.length < needed) throw new ProofError(`the entries of tile ${index} are cut off`)
    for (const entry of bundle.slice(0, needed)) {
      tree.add(entry)
      entries.add(entry)
      if (tree.size === kept?.size && !tree.root().equals(kept.root))
        throw new ProofError(
          `the first ${kept.size} published entries are not those of the checkpoint`,
        )
    }
  }
  if (!tree.root().equals(root))
    throw new ProofError('the published entries are not those of the checkpoint')
  return entries
}

/** The full tile, else the smallest one that has enough entries: a folder keeps those of earlier sizes. */
async function readBundle(
  folder: string,
  { index, needed }: { index: number; needed: number },
): Promise<Buffer> {
  const full = path.join(folder, entriesPath({ index, width: tileWidth }))
  const partial = `${full}.p`
  const widths = (await orNone(readdir(partial)))?.map(Number) ?? []
  const enough = widths.filter((width) => width >= needed).toSorted((a, b) => a - b)
  for (const file of [full, ...enough.map((width) => path.join(partial, String(width)))]) {
    const bytes = await orNone(readFile(file))
    if (bytes !== null) return bytes
  }
  throw new ProofError(`the entries of tile ${index} are missing in the published log`)
}

/** Null where the file does not exist. */
export async function orNone<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw error
  }
}
