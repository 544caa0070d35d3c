import { emptyRoot, hashLeaf, hashNode, type Hash } from './merkle.ts'

/** Computes the root of a tree while its entries arrive, in memory that grows with the tree's height only. */
export type GrowingTree = {
  readonly size: number
  add(entry: Uint8Array): void
  root(): Hash
}

export function createGrowingTree(): GrowingTree {
  /** Roots of complete subtrees from left to right, each larger than the next one. */
  const subtrees: { readonly width: number; readonly root: Hash }[] = []
  let size = 0
  return {
    get size() {
      return size
    },
    add(entry) {
      size += 1
      let node = { width: 1, root: hashLeaf(entry) }
      for (let left = subtrees.at(-1); left?.width === node.width; left = subtrees.at(-1)) {
        subtrees.pop()
        node = { width: 2 * node.width, root: hashNode(left.root, node.root) }
      }
      subtrees.push(node)
    },
    root: () =>
      size === 0
        ? emptyRoot
        : subtrees.map(({ root }) => root).reduceRight((right, left) => hashNode(left, right)),
  }
}
