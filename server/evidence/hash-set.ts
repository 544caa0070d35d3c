export type HashSet = {
  add(hash: Buffer): void
  has(hash: Buffer): boolean
  size(): number
}

/** A set of SHA-256 hashes. One `Set` ends at 16.7 million values, so each first byte has its own. */
export function createHashSet(): HashSet {
  const sets = Array.from({ length: 256 }, () => new Set<string>())
  const setOf = (hash: Buffer) => sets[hash[0] ?? 0]!
  // A byte for each byte of the hash: hexadecimal takes twice as much.
  const textOf = (hash: Buffer) => hash.toString('latin1')
  return {
    add: (hash) => void setOf(hash).add(textOf(hash)),
    has: (hash) => setOf(hash).has(textOf(hash)),
    size: () => sets.reduce((sum, { size }) => sum + size, 0),
  }
}
