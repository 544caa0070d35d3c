import { createHash } from 'node:crypto'

/** A SHA-256 hash: 32 bytes. */
export type Hash = Buffer

/** A place in the tree is missing, or a proof does not fit. */
export class ProofError extends Error {}

/** RFC 6962 §2.1: a leaf and a node are hashed with different first bytes, so that neither can stand for the other. */
export function hashLeaf(entry: Uint8Array): Hash {
  return createHash('sha256').update(leafPrefix).update(entry).digest()
}

export function hashNode(left: Hash, right: Hash): Hash {
  return createHash('sha256').update(nodePrefix).update(left).update(right).digest()
}

const leafPrefix = Buffer.of(0)
const nodePrefix = Buffer.of(1)

/** The root of a tree without leaves: SHA-256 of nothing. */
export const emptyRoot: Hash = createHash('sha256').digest()

/**
 * Reads the root of a complete subtree: of the leaves from `index · 2^level` up to `(index + 1) · 2^level`. All of these
 * leaves exist.
 */
export type ReadSubtree = (level: number, index: number) => Promise<Hash>

/** The root of a tree of this size (RFC 6962 §2.1). */
export async function rootOf(size: number, read: ReadSubtree): Promise<Hash> {
  return size === 0 ? emptyRoot : rootOfRange(0, size, read)
}

/**
 * The root of the leaves from `from` up to `to`, as a part of a larger tree: `from` is a multiple of the largest power of
 * two below the length.
 */
async function rootOfRange(from: number, to: number, read: ReadSubtree): Promise<Hash> {
  const subtrees: Hash[] = []
  for (let at = from; at < to;) {
    const level = Math.floor(Math.log2(to - at))
    subtrees.push(await read(level, at / 2 ** level))
    at += 2 ** level
  }
  return subtrees.reduceRight((right, left) => hashNode(left, right))
}

/** The hashes beside the path from a leaf to the root of a tree of this size, from below (RFC 6962 §2.1.1). */
export function proveInclusion(index: number, size: number, read: ReadSubtree): Promise<Hash[]> {
  if (!(index >= 0 && index < size))
    throw new ProofError(`the log has no leaf ${index}: its size is ${size}`)
  return path(0, size)

  async function path(from: number, to: number): Promise<Hash[]> {
    if (to - from === 1) return []
    const middle = from + largestPowerBelow(to - from)
    return index < middle
      ? [...(await path(from, middle)), await rootOfRange(middle, to, read)]
      : [...(await path(middle, to)), await rootOfRange(from, middle, read)]
  }
}

/** The hashes that show a tree of `older` leaves to be the beginning of one of `newer` leaves (RFC 6962 §2.1.2). */
export function proveConsistency(older: number, newer: number, read: ReadSubtree): Promise<Hash[]> {
  if (!(older >= 0 && older <= newer))
    throw new ProofError(`a log of ${newer} leaves does not continue one of ${older}`)
  return older === 0 ? Promise.resolve([]) : proof(0, newer, true)

  async function proof(from: number, to: number, isWhole: boolean): Promise<Hash[]> {
    if (older === to) return isWhole ? [] : [await rootOfRange(from, to, read)]
    const middle = from + largestPowerBelow(to - from)
    return older <= middle
      ? [...(await proof(from, middle, isWhole)), await rootOfRange(middle, to, read)]
      : [...(await proof(middle, to, false)), await rootOfRange(from, middle, read)]
  }
}

/**
 * The root that a proof of inclusion leads to (RFC 9162 §2.1.3.2): the leaf is in the tree when that is the tree's root.
 *
 * @throws {ProofError} when the proof has too few or too many hashes for this index and size
 */
export function rootFromInclusion(
  leaf: Hash,
  { index, size }: { index: number; size: number },
  proof: readonly Hash[],
): Hash {
  if (!(index >= 0 && index < size))
    throw new ProofError(`the log has no leaf ${index}: its size is ${size}`)
  let root = leaf
  for (const { hash, isLeft } of climb(index, size - 1, proof))
    root = isLeft ? hashNode(hash, root) : hashNode(root, hash)
  return root
}

/**
 * Whether a proof shows the older tree to be the beginning of the newer one (RFC 9162 §2.1.4.2).
 *
 * @throws {ProofError} when the proof has too few or too many hashes for these sizes
 */
export function isConsistent(
  older: { readonly size: number; readonly root: Hash },
  newer: { readonly size: number; readonly root: Hash },
  proof: readonly Hash[],
): boolean {
  if (older.size > newer.size)
    throw new ProofError(`a log of ${newer.size} leaves does not continue one of ${older.size}`)
  if (older.size === newer.size || older.size === 0) {
    if (proof.length > 0) throw new ProofError('the proof has too many hashes')
    return older.root.equals(older.size === 0 ? emptyRoot : newer.root)
  }
  let node = older.size - 1
  let last = newer.size - 1
  while (node % 2 === 1) [node, last] = [half(node), half(last)]
  const [first, ...others] = node === 0 ? [older.root, ...proof] : proof
  if (first === undefined) throw new ProofError('the proof has too few hashes')
  let oldRoot = first
  let newRoot = first
  for (const { hash, isLeft } of climb(node, last, others)) {
    if (isLeft) oldRoot = hashNode(hash, oldRoot)
    newRoot = isLeft ? hashNode(hash, newRoot) : hashNode(newRoot, hash)
  }
  return oldRoot.equals(older.root) && newRoot.equals(newer.root)
}

/**
 * Climbs from a node to the root, beside which `last` is the last node of the level, and says on which side of the path
 * each hash of the proof stands.
 *
 * @throws {ProofError} when the proof has too few or too many hashes
 */
function* climb(
  node: number,
  last: number,
  proof: readonly Hash[],
): Generator<{ readonly hash: Hash; readonly isLeft: boolean }> {
  for (const hash of proof) {
    if (last === 0) throw new ProofError('the proof has too many hashes')
    const isLeft = node % 2 === 1 || node === last
    yield { hash, isLeft }
    if (isLeft) while (node % 2 === 0 && node !== 0) [node, last] = [half(node), half(last)]
    node = half(node)
    last = half(last)
  }
  if (last !== 0) throw new ProofError('the proof has too few hashes')
}

// Sizes may pass 2^31, where bit operations end.
const half = (n: number) => Math.floor(n / 2)

function largestPowerBelow(n: number): number {
  const power = 2 ** Math.floor(Math.log2(n))
  return power === n ? power / 2 : power
}
