import { setTimeout as sleep } from 'node:timers/promises'
import { checkLedger, countFamilies, type BrokenFamily } from '../../db/audit/check.ts'
import type { Statements } from '../../db/connection/connect.ts'
import type { LongReads } from './long-reads.ts'

/** Families. `broken` is how many of those checked do not verify; `total` is null if they could not be counted. */
export type CheckProgress = {
  readonly checked: number
  readonly total: number | null
  readonly broken: number
}

export type CheckResult = {
  readonly intact: boolean
  readonly families: number
  readonly events: number
  /** The first 1,000. */
  readonly broken: BrokenFamily[]
}

/** How far a check is, or how it ended. */
export type CheckMessage =
  | { readonly progress: CheckProgress; readonly result?: undefined }
  | { readonly progress?: undefined; readonly result: CheckResult }

/** A check of the whole ledger, which all who ask for one meanwhile share. */
type Check = {
  progress: CheckProgress
  readonly result: Promise<CheckResult>
  followers: number
  readonly leave: AbortController
}

const underWay = new WeakMap<Statements, Check>()

/** How often a follower looks for progress. */
const lookMs = 1_000

/**
 * Checks the whole ledger, and says how far it is. Joins a check that runs already. When its last follower has left, a
 * check ends after the piece that it reads.
 *
 * @param options.stillMay called before each report; an error that it throws ends the stream
 * @throws {AuthError} `too_many_attempts` while an export runs
 */
export async function* followCheck(
  database: Statements,
  longReads: LongReads,
  options: { signal: AbortSignal; stillMay?: () => Promise<void> },
): AsyncGenerator<CheckMessage, void> {
  const { signal, stillMay } = options
  if (signal.aborted) return
  const check = underWay.get(database) ?? begin(database, longReads)
  check.followers += 1
  try {
    let reported: CheckProgress | null = null
    const ended = check.result.then(
      () => true,
      () => true,
    )
    for (;;) {
      if (signal.aborted) return
      await stillMay?.()
      if (check.progress !== reported) yield { progress: (reported = check.progress) }
      const isOver = await Promise.race([
        ended,
        sleep(lookMs, false, { signal, ref: false }).catch(() => false),
      ])
      if (isOver) break
    }
    const result = await check.result
    await stillMay?.()
    yield { result }
  } finally {
    check.followers -= 1
    if (check.followers === 0) {
      check.leave.abort()
      if (underWay.get(database) === check) underWay.delete(database)
    }
  }
}

function begin(database: Statements, longReads: LongReads): Check {
  const release = longReads.take()
  const leave = new AbortController()
  const check: Check = {
    progress: { checked: 0, total: 0, broken: 0 },
    result: run(),
    followers: 0,
    leave,
  }
  check.result.catch(() => {})
  underWay.set(database, check)
  return check

  async function run(): Promise<CheckResult> {
    try {
      // A huge ledger is not counted within the limit of a question. It can be checked all the same.
      const total = await countFamilies(database).catch(() => null)
      check.progress = { checked: 0, total, broken: 0 }
      const { families, events, broken } = await checkLedger(
        database.statements,
        ({ families: checked }, found) => {
          leave.signal.throwIfAborted()
          check.progress = {
            checked,
            total: total === null ? null : Math.max(total, checked),
            broken: found.length,
          }
        },
      )
      return { intact: broken.length === 0, families, events, broken: broken.slice(0, 1_000) }
    } finally {
      release()
      if (underWay.get(database) === check) underWay.delete(database)
    }
  }
}
