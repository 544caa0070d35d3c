import { hashNode, ProofError, type Hash, type ReadSubtree } from './merkle.ts'

/** A full tile holds 2^8 hashes, so that it stands for eight levels of the tree. */
export const tileHeight = 8
export const tileWidth = 2 ** tileHeight

/** `width` hashes of level `8 · level` from `index · 256` on; fewer than 256 where the tree ends. */
export type Tile = { readonly level: number; readonly index: number; readonly width: number }

/** The path of a tile (C2SP tlog-tiles): `tile/1/x001/x234/067`, or `tile/0/000.p/5` for one that is not full yet. */
export function tilePath({ level, index, width }: Tile): string {
  return `tile/${level}/${numberPath(index)}${width === tileWidth ? '' : `.p/${width}`}`
}

/** The path of the entries of a tile of level 0. */
export function entriesPath({ index, width }: Omit<Tile, 'level'>): string {
  return `tile/entries/${numberPath(index)}${width === tileWidth ? '' : `.p/${width}`}`
}

/** What a path asks for: a tile of hashes, or entries. Null for a path that is neither, or not in its shortest form. */
export function parseTilePath(path: string): Tile | { entries: Omit<Tile, 'level'> } | null {
  const match = /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/)*\d{3})(?:\.p\/(\d{1,3}))?$/.exec(path)
  if (match === null) return null
  const [, kind, number = '', partial] = match
  const index = Number(number.replaceAll(/[x/]/g, ''))
  const width = partial === undefined ? tileWidth : Number(partial)
  const isEntries = kind === 'entries'
  const tile = { level: isEntries ? 0 : Number(kind), index, width }
  const isCanonical = path === (isEntries ? entriesPath(tile) : tilePath(tile))
  const isPossible = Number.isSafeInteger(index) && width >= 1 && width <= tileWidth
  if (!isCanonical || !isPossible || tile.level * tileHeight > 63) return null
  return isEntries ? { entries: { index, width } } : tile
}

/** Groups of three digits, all but the last one with an `x` before it: 1234067 is `x001/x234/067`. */
function numberPath(index: number): string {
  const digits = String(index)
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/.{3}/g) ?? []
  return groups.map((group, i) => (i === groups.length - 1 ? group : `x${group}`)).join('/')
}

/** Every tile of a tree of this size, and for each level the one at its end that is not full. */
export function* tilesOf(size: number): Generator<Tile> {
  for (let level = 0, nodes = size; nodes > 0; level++, nodes = Math.floor(nodes / tileWidth)) {
    const full = Math.floor(nodes / tileWidth)
    for (let index = 0; index < full; index++) yield { level, index, width: tileWidth }
    if (nodes % tileWidth > 0) yield { level, index: full, width: nodes % tileWidth }
  }
}

/**
 * Reads subtrees from tiles of a tree of this size.
 *
 * @param readTile gives the bytes of a tile: `width` hashes of 32 bytes
 */
export function subtreesFrom(
  size: number,
  readTile: (tile: Tile) => Promise<Uint8Array>,
): ReadSubtree {
  return async (level, index) => {
    const tileLevel = Math.floor(level / tileHeight)
    const height = level % tileHeight
    const first = index * 2 ** height
    const tileIndex = Math.floor(first / tileWidth)
    const nodes = Math.floor(size / tileWidth ** tileLevel)
    const width = Math.min(tileWidth, nodes - tileIndex * tileWidth)
    const bytes = await readTile({ level: tileLevel, index: tileIndex, width })
    const hashes = hashesIn(bytes, width)
    const from = first % tileWidth
    return foldComplete(hashes.slice(from, from + 2 ** height))
  }
}

/** @throws {ProofError} when a tile is cut off or too long */
function hashesIn(bytes: Uint8Array, width: number): Hash[] {
  if (bytes.length !== width * 32)
    throw new ProofError(`a tile has ${bytes.length} bytes and not ${width * 32}`)
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return Array.from({ length: width }, (_, i) => buffer.subarray(i * 32, (i + 1) * 32))
}

/** The root of a power of two of nodes. */
export function foldComplete(hashes: readonly Hash[]): Hash {
  const [first, second] = hashes
  if (first === undefined) throw new ProofError('a tile lacks hashes')
  if (second === undefined) return first
  const middle = hashes.length / 2
  return hashNode(foldComplete(hashes.slice(0, middle)), foldComplete(hashes.slice(middle)))
}

/** The entries of a tile in one piece: each with its length before it, a big-endian 16-bit number (C2SP tlog-tiles). */
export function packEntries(entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    entries.flatMap((entry) => {
      const length = Buffer.alloc(2)
      length.writeUInt16BE(entry.length)
      return [length, entry]
    }),
  )
}

/** @throws {ProofError} when the last entry is cut off */
export function unpackEntries(bytes: Buffer): Buffer[] {
  const entries: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const end = at + 2 <= bytes.length ? at + 2 + bytes.readUInt16BE(at) : Infinity
    if (end > bytes.length) throw new ProofError('the last entry is cut off')
    entries.push(bytes.subarray(at + 2, end))
    at = end
  }
  return entries
}
