import { readLeafHashes, readNodeHashes, type LogDatabase } from '../../db/evidence/log.ts'
import { hashLeaf, ProofError, type ReadSubtree } from './merkle.ts'
import { packEntries, subtreesFrom, tileWidth, type Tile } from './tiles.ts'

/**
 * The bytes of a tile of the log in this database. Hashes of leaves are computed, those above are stored.
 *
 * @throws {ProofError} when the log does not have as many leaves
 */
export async function readStoredTile(
  database: LogDatabase,
  { level, index, width }: Tile,
): Promise<Buffer> {
  const first = index * tileWidth
  const hashes =
    level === 0
      ? (await readLeafHashes(database, { first, count: width })).map(hashLeaf)
      : await readNodeHashes(database, { level, first, count: width })
  if (hashes.length !== width) throw new ProofError('the log has no such tile')
  return Buffer.concat(hashes)
}

/**
 * The entries below a tile of level 0: the hash of each event and admin action.
 *
 * @throws {ProofError} when the log does not have as many leaves
 */
export async function readStoredEntries(
  database: LogDatabase,
  { index, width }: Omit<Tile, 'level'>,
): Promise<Buffer> {
  const entries = await readLeafHashes(database, { first: index * tileWidth, count: width })
  if (entries.length !== width) throw new ProofError('the log has no such entries')
  return packEntries(entries)
}

/** Reads subtrees of the log in this database, of its first `size` leaves. */
export function storedSubtrees(database: LogDatabase, size: number): ReadSubtree {
  return subtreesFrom(size, (tile) => readStoredTile(database, tile))
}
