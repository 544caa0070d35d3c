import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  emptyRoot,
  hashLeaf,
  hashNode,
  isConsistent,
  ProofError,
  proveConsistency,
  proveInclusion,
  rootFromInclusion,
  rootOf,
  type Hash,
} from '../../server/evidence/merkle.ts'
import { subtreesFrom, tilePath, tilesOf, type Tile } from '../../server/evidence/tiles.ts'

/** The tree of the reference implementation of RFC 6962, which other implementations use as well. */
const reference = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657']
  .concat('606162636465666768696a6b6c6d6e6f')
  .map((hex) => Buffer.from(hex, 'hex'))
const referenceRoots = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
]

test('the roots are those of the reference implementation of RFC 6962', async () => {
  expect(emptyRoot.toString('hex')).toBe(
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  )
  for (const [i, root] of referenceRoots.entries()) {
    const log = treeOf(reference.slice(0, i + 1))
    expect((await rootOf(i + 1, log.read)).toString('hex')).toBe(root)
  }
})

test('an inclusion is proven for every leaf of every tree up to 20 leaves, and for no other leaf', async () => {
  const entries = Array.from({ length: 20 }, (_, i) => Buffer.of(i))
  for (let size = 1; size <= entries.length; size++) {
    const log = treeOf(entries.slice(0, size))
    const root = await rootOf(size, log.read)
    for (let index = 0; index < size; index++) {
      const proof = await proveInclusion(index, size, log.read)
      const at = { index, size }
      expect(rootFromInclusion(hashLeaf(entries[index]!), at, proof)).toEqual(root)
      expect(rootFromInclusion(hashLeaf(Buffer.of(99)), at, proof)).not.toEqual(root)
      expect(() => rootFromInclusion(hashLeaf(entries[index]!), at, [...proof, root])).toThrow(
        ProofError,
      )
      if (proof.length > 0)
        expect(() => rootFromInclusion(hashLeaf(entries[index]!), at, proof.slice(0, -1))).toThrow(
          ProofError,
        )
    }
  }
})

test('a consistency is proven for every two trees up to 20 leaves, and not for a changed one', async () => {
  const entries = Array.from({ length: 20 }, (_, i) => Buffer.of(i))
  const roots = await Promise.all(
    Array.from({ length: 21 }, (_, size) => rootOf(size, treeOf(entries).read)),
  )
  const { read } = treeOf(entries)
  const other = treeOf(entries.with(0, Buffer.of(99)))
  for (let newer = 0; newer <= 20; newer++)
    for (let older = 0; older <= newer; older++) {
      const proof = await proveConsistency(older, newer, read)
      const to = { size: newer, root: roots[newer]! }
      expect(isConsistent({ size: older, root: roots[older]! }, to, proof)).toBe(true)
      if (older === 0) continue
      const changed = { size: older, root: await rootOf(older, other.read) }
      expect(isConsistent(changed, to, proof)).toBe(false)
      expect(() => isConsistent(changed, to, [...proof, emptyRoot])).toThrow(ProofError)
    }
})

test('a tree of any size that is kept in tiles has the root of the definition in RFC 6962', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 1_500 }), fc.nat(), async (size, seed) => {
      const entries = Array.from({ length: size }, (_, i) => Buffer.from(`${seed} ${i}`))
      expect(await rootOf(size, treeOf(entries).read)).toEqual(defined(entries.map(hashLeaf)))
    }),
    { numRuns: 30 },
  )
})

test('a leaf index or a size beyond the end is refused in words', async () => {
  const { read } = treeOf(reference)
  expect(() => proveInclusion(8, 8, read)).toThrow('the log has no leaf 8: its size is 8')
  expect(() => proveConsistency(9, 8, read)).toThrow('does not continue one of 9')
  expect(() => rootFromInclusion(emptyRoot, { index: 8, size: 8 }, [])).toThrow(ProofError)
})

test('a tile that is cut off is refused', async () => {
  const read = subtreesFrom(8, async () => Buffer.alloc(31))
  await expect(rootOf(8, read)).rejects.toThrow('a tile has 31 bytes and not 256')
})

/** MTH as RFC 6962 §2.1 defines it. */
function defined(leaves: readonly Hash[]): Hash {
  if (leaves.length === 1) return leaves[0]!
  let k = 1
  while (2 * k < leaves.length) k *= 2
  return hashNode(defined(leaves.slice(0, k)), defined(leaves.slice(k)))
}

/** A tree in tiles that are made in the plain way. */
function treeOf(entries: readonly Buffer[]) {
  const tiles = new Map<string, Buffer>()
  let hashes = entries.map(hashLeaf)
  for (let level = 0; hashes.length > 0; level++) {
    for (const tile of tilesOf(entries.length)) {
      if (tile.level !== level) continue
      const from = tile.index * 256
      tiles.set(tilePath(tile), Buffer.concat(hashes.slice(from, from + tile.width)))
    }
    const above: Hash[] = []
    for (let i = 0; i + 256 <= hashes.length; i += 256)
      above.push(defined(hashes.slice(i, i + 256)))
    hashes = above
  }
  const readTile = async (tile: Tile) => tiles.get(tilePath(tile)) ?? expect.fail(tilePath(tile))
  return { read: subtreesFrom(entries.length, readTile) }
}
