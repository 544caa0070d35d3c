import {
  readArchivedMonths,
  readCheckedLeaves,
  readRowsWithoutLeaf,
  type CheckedLeaf,
  type LoggedRow,
} from '../../db/evidence/check.ts'
import { readCheckpoints } from '../../db/evidence/checkpoints.ts'
import type { LogDatabase } from '../../db/evidence/log.ts'
import { openCheckpoint, type Checkpoint } from './checkpoint.ts'
import { createGrowingTree } from './growing-tree.ts'
import { NoteError, type VerifierKey } from './signed-note.ts'

/** Leaves per statement. */
const batchSize = 5_000

/** Stored checkpoints that narrow down which leaves are wrong. */
const maxStored = 100_000

/** More problems than a reader can use. */
const maxProblems = 1_000

export type LogReport = {
  readonly leaves: number
  /** Each in one line; the first is the one of the oldest leaf. */
  readonly problems: readonly string[]
}

/**
 * Compares the ledger with a checkpoint that was kept elsewhere: computes the hash of every event and admin action
 * again, and the root of the first `checkpoint.size` leaves.
 */
export async function verifyLog(
  database: LogDatabase,
  checkpoint: Checkpoint,
  keys: readonly VerifierKey[],
): Promise<LogReport> {
  const archived = await readArchivedMonths(database)
  const isArchived = (familyId: string) => {
    const month = monthOf(familyId)
    return archived.some(({ first, last }) => first <= month && month <= last)
  }
  const signed = await signedSizes(database, keys)
  signed.set(checkpoint.size, checkpoint.root)
  const tree = createGrowingTree()
  const problems: string[] = []
  const brokenFamilies = new Set<string>()
  let lastRight = 0
  let firstWrong = checkpoint.size === 0 && !tree.root().equals(checkpoint.root) ? 0 : null

  function check(leaf: CheckedLeaf): void {
    const problem = problemOf(leaf, isArchived)
    const isKnown = leaf.familyId !== null && brokenFamilies.has(leaf.familyId)
    if (problem !== null && !isKnown && problems.length < maxProblems) problems.push(problem)
    if (problem !== null && leaf.familyId !== null) brokenFamilies.add(leaf.familyId)
    tree.add(leaf.hash)
    const root = signed.get(tree.size)
    if (root === undefined || firstWrong !== null) return
    if (root.equals(tree.root())) lastRight = tree.size
    else firstWrong = tree.size
  }

  for (;;) {
    const leaves = await readCheckedLeaves(database, { first: tree.size, count: batchSize })
    for (const leaf of leaves) {
      if (leaf.leafIndex !== tree.size)
        return { leaves: tree.size, problems: [...problems, `leaf ${tree.size} is missing`] }
      check(leaf)
    }
    if (leaves.length < batchSize) break
  }
  for (const row of await readRowsWithoutLeaf(database, maxProblems))
    problems.push(`${nameOf(row)}  is not in the log`)
  if (tree.size < checkpoint.size)
    problems.push(`the log has ${tree.size} leaves; the checkpoint has ${checkpoint.size}`)
  if (firstWrong !== null)
    problems.push(`leaves ${lastRight} to ${firstWrong - 1} are not those that were signed`)
  return { leaves: tree.size, problems }
}

function problemOf(leaf: CheckedLeaf, isArchived: (familyId: string) => boolean): string | null {
  const { leafIndex, familyId, hash, contentHash } = leaf
  if (contentHash?.equals(hash) === true) return null
  if (contentHash === null && familyId !== null && isArchived(familyId)) return null
  const how = contentHash === null ? 'is missing' : 'is not the one in the log'
  return `${nameOf(leaf)}  ${how} (leaf ${leafIndex})`
}

function nameOf({ familyId, seq, actionId }: LoggedRow): string {
  return familyId === null ? `admin action ${actionId}` : `${familyId}  event ${seq}`
}

/** Roots by size, of stored checkpoints that one of the keys has signed. */
async function signedSizes(database: LogDatabase, keys: readonly VerifierKey[]) {
  const roots = new Map<number, Buffer>()
  for (const { note } of await readCheckpoints(database, maxStored))
    try {
      const { size, root } = openCheckpoint(note, keys)
      roots.set(size, root)
    } catch (error) {
      if (!(error instanceof NoteError)) throw error
    }
  return roots
}

/** The month in which a family began, from its id, a UUIDv7 (RFC 9562 §5.7). */
function monthOf(familyId: string): string {
  const beganAt = Number.parseInt(familyId.replace('-', '').slice(0, 12), 16)
  return new Date(beganAt).toISOString().slice(0, 7).replace('-', '')
}
