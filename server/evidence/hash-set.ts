export type HashSet = {
  add(hash: Buffer): void
  has(hash: Buffer): boolean
  size(): number
}

/** A set of SHA-256 hashes. One `Set` ends at 16.7 million values, so each first byte has its own. */
export function createHashSet(): HashSet {
  const sets = Array.from({ length: 256 }, () => new Set<string>())
  const setOf = (hash: Buffer) => sets[hash[0] ?? 0]
  return {
    add: (hash) => void setOf(hash)?.add(textOf(hash)),
    has: (hash) => setOf(hash)?.has(textOf(hash)) ?? false,
    size: () => sets.reduce((sum, { size }) => sum + size, 0),
  }
}

/** A character for each byte: hexadecimal takes twice as much. */
function textOf(hash: Buffer): string {
  return hash.toString('latin1')
}
