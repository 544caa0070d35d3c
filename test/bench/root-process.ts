import type * as Connect from '../../db/connection/connect.ts'
import type * as Log from '../../db/evidence/log.ts'
import type * as Tree from '../../server/evidence/growing-tree.ts'
import { answerCalls } from '../support/child.ts'
import { fromDist } from './dist.ts'

// Computes the root of a whole log, with the heap measured after a tenth of it and at its end.

const { connect } = await fromDist<typeof Connect>('db/connection/connect.js')
const { readLeafHashes, readLogSize } = await fromDist<typeof Log>('db/evidence/log.js')
const { createGrowingTree } = await fromDist<typeof Tree>('server/evidence/growing-tree.js')

export type RecomputedRoot = {
  readonly size: number
  readonly ms: number
  readonly heapAfterTenth: number
  readonly heapAfterAll: number
}

const batchSize = 5_000

answerCalls({ root })

async function root(): Promise<RecomputedRoot> {
  const database = connect(process.env.DATABASE_URL!, { role: 'token_ledger_app' })
  const whole = await readLogSize(database)
  const tree = createGrowingTree()
  let heapAfterTenth = 0
  const startedAt = performance.now()
  while (tree.size < whole) {
    const first = tree.size
    for (const hash of await readLeafHashes(database, { first, count: batchSize })) tree.add(hash)
    if (heapAfterTenth === 0 && tree.size >= whole / 10) heapAfterTenth = heap()
  }
  tree.root()
  const ms = performance.now() - startedAt
  const heapAfterAll = heap()
  await database.close()
  return { size: tree.size, ms, heapAfterTenth, heapAfterAll }
}

/** Bytes of heap in use after two garbage collections. */
function heap(): number {
  globalThis.gc!()
  globalThis.gc!()
  return process.memoryUsage().heapUsed
}
