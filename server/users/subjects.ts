import type { Statements } from '../../db/connection/connect.ts'
import { isDerived, readSubjects } from '../../db/subjects.ts'

type Known = ReadonlyMap<string, string>

/** The subjects of ledger ids that are derived: see `db/subjects.ts`. */
export type Subjects = {
  /**
   * By ledger id. Ids that stand for themselves are missing, and erased ones. A promise only where the database has to be
   * asked.
   */
  of(ledgerIds: readonly string[]): Known | Promise<Known>
}

const none: Known = new Map()

/** Some 2 MB of usual ids. The oldest is forgotten, and costs one statement to learn again. */
const maxRemembered = 10_000

/** Remembers what it has read, because the subject of an id never changes. */
export function createSubjects(database: Pick<Statements, 'statements'>): Subjects {
  const remembered = new Map<string, string>()

  async function read(known: Map<string, string>, unknown: readonly string[]): Promise<Known> {
    for (const [id, subject] of await readSubjects(database, unknown)) {
      known.set(id, subject)
      const [oldest] = remembered.keys()
      if (remembered.size >= maxRemembered && oldest !== undefined) remembered.delete(oldest)
      remembered.set(id, subject)
    }
    return known
  }

  return {
    of(ledgerIds) {
      const derived = ledgerIds.filter(isDerived)
      if (derived.length === 0) return none
      const known = new Map<string, string>()
      for (const id of derived) {
        const subject = remembered.get(id)
        if (subject !== undefined) known.set(id, subject)
      }
      const unknown = derived.filter((id) => !known.has(id))
      return unknown.length === 0 ? known : read(known, unknown)
    },
  }
}

const missedForMs = 5_000

/**
 * For the log: an id that had no subject is not asked about again for a few seconds, and is logged as it is. A refresh
 * asks always, because another process may have begun a session of the user meanwhile.
 */
export function rememberingMisses(subjects: Subjects, now = () => performance.now()): Subjects {
  const missedAt = new Map<string, number>()

  function note(known: Known, asked: readonly string[]): Known {
    for (const id of asked.filter((one) => isDerived(one) && !known.has(one))) {
      missedAt.delete(id)
      const [oldest] = missedAt.keys()
      if (missedAt.size >= maxRemembered && oldest !== undefined) missedAt.delete(oldest)
      missedAt.set(id, now())
    }
    return known
  }

  return {
    of(ledgerIds) {
      const asked = ledgerIds.filter((id) => now() >= (missedAt.get(id) ?? -Infinity) + missedForMs)
      const known = subjects.of(asked)
      return known instanceof Promise ? known.then((found) => note(found, asked)) : known
    },
  }
}
