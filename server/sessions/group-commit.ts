import { isRetryable, isUnavailable } from '../../db/connection/errors.ts'
import { retryOnConflict } from '../../db/connection/transaction.ts'
import { AuthError } from '../errors.ts'
import type { SessionPolicy } from './session.ts'

/**
 * Group commit: many rotations, or many sign-outs, share one transaction, because a commit costs the same for one as
 * for sixty-four. An item that arrives alone starts at once. Those that arrive while batches are in the database wait
 * together for the next batch.
 */
export type CommitQueue<Item, Result> = {
  /**
   * @throws {AuthError} at once: `service_unavailable` when the queue is full, `too_many_attempts` when the
   * family has all its places
   */
  submit(item: Item): Promise<Result>
  /** Items waiting, not counting those in the database. */
  readonly depth: number
}

export type CommitQueueOptions<Item, Result> = {
  /**
   * Settles a batch, in which no family appears twice, in one transaction. An item that is missing
   * from the result lost to another transaction and is submitted again.
   */
  readonly settle: (batch: readonly Item[]) => Promise<ReadonlyMap<Item, Result>>
  /** Whether a failed batch was certainly not written, so that its items may be retried one by one. */
  readonly mayRetry: (error: unknown) => boolean
  /** Called with the time each item waited for its batch, in milliseconds. */
  readonly onWaited?: (ms: number) => void
  readonly maxBatch?: number
  readonly maxInFlight?: number
  readonly maxWaiting?: number
}

/** The queue of the service for one kind of write. */
export function createQueueFor<Item extends { readonly familyId: string }, Result>(
  { rotationBatchSize }: Pick<SessionPolicy, 'rotationBatchSize'>,
  { settle, onWaited }: Pick<CommitQueueOptions<Item, Result>, 'settle' | 'onWaited'>,
): CommitQueue<Item, Result> {
  return createCommitQueue({
    settle: (batch) => retryOnConflict(() => settle(batch)),
    ...(onWaited && { onWaited }),
    // After a lost connection it is unknown whether the batch was written. A retry of the client finds out.
    mayRetry: (error) => isRetryable(error) || !isUnavailable(error),
    ...(rotationBatchSize && { maxBatch: rotationBatchSize }),
    // Each item has statements of its own then; five leave connections free for other work.
    ...(rotationBatchSize === 1 && { maxInFlight: 5 }),
  })
}

/** How long an item is resubmitted while other transactions win, before its caller gets `service_unavailable`. */
const maxLockedMs = 5_000
/** After this long, a running batch no longer delays the next one (ten times the usual duration). */
const slowBatchMs = 100
/** How soon such an item is submitted again. */
const lockedPauseMs = 10
/**
 * Items of one family that wait at once. A batch takes one of them, so more would only fill the queue for
 * others. Clients that start together need a few; a reuse is detected by the first that is decided.
 */
const maxWaitingPerFamily = 20

type Entry<Item, Result> = {
  readonly item: Item
  readonly since: number
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

/**
 * @param options.maxBatch 64 by default: a larger batch makes each item wait longer and saves little.
 * @param options.maxInFlight 2 by default: one batch beside a running one.
 * @param options.maxWaiting 2,000 by default: what a busy server settles in half a second.
 */
export function createCommitQueue<Item extends { readonly familyId: string }, Result>({
  settle,
  mayRetry,
  onWaited = () => {},
  maxBatch = 64,
  maxInFlight = 2,
  maxWaiting = 2_000,
}: CommitQueueOptions<Item, Result>): CommitQueue<Item, Result> {
  let waiting: Entry<Item, Result>[] = []
  const waitingByFamily = new Map<string, number>()
  const familiesInFlight = new Set<string>()
  let batchesInFlight = 0
  let lastBatchAt = 0
  let dispatchTimer: NodeJS.Timeout | null = null

  return {
    submit(item) {
      if (waiting.length >= maxWaiting) {
        const full = new AuthError('service_unavailable', 'the queue is full', {
          retryAfterSeconds: 1,
        })
        return Promise.reject(full)
      }
      if ((waitingByFamily.get(item.familyId) ?? 0) >= maxWaitingPerFamily) {
        const crowded = new AuthError('too_many_attempts', 'too many of the family wait', {
          retryAfterSeconds: 1,
        })
        return Promise.reject(crowded)
      }
      return new Promise((resolve, reject) => {
        enqueue({ item, since: performance.now(), resolve, reject })
        dispatch()
      })
    },
    get depth() {
      return waiting.length
    },
  }

  function enqueue(entry: Entry<Item, Result>): void {
    const { familyId } = entry.item
    waiting.push(entry)
    waitingByFamily.set(familyId, (waitingByFamily.get(familyId) ?? 0) + 1)
  }

  function dispatch(): void {
    while (mayStart()) {
      const batch = takeBatch()
      if (batch.length === 0) return
      batchesInFlight++
      lastBatchAt = performance.now()
      for (const { since } of batch) onWaited(lastBatchAt - since)
      void run(batch).finally(() => {
        batchesInFlight--
        for (const { item } of batch) familiesInFlight.delete(item.familyId)
        dispatch()
      })
    }
    // Dispatch again after a slow batch even if no further item arrives.
    if (waiting.length > 0) dispatchTimer ??= setTimeout(dispatchAfterSlowBatch, slowBatchMs)
  }

  function dispatchAfterSlowBatch(): void {
    dispatchTimer = null
    dispatch()
  }

  /**
   * One transaction for sixty items costs less than two for thirty. But while the database works on the only
   * batch, this process is idle, so a second batch starts once it is half full.
   */
  function mayStart(): boolean {
    if (batchesInFlight === 0) return true
    if (batchesInFlight === maxInFlight) return false
    return waiting.length >= maxBatch / 2 || performance.now() - lastBatchAt >= slowBatchMs
  }

  /** The oldest items, one for each family: two tokens of one family are decided one after the other. */
  function takeBatch(): Entry<Item, Result>[] {
    const batch: Entry<Item, Result>[] = []
    const left: Entry<Item, Result>[] = []
    for (const entry of waiting) {
      const { familyId } = entry.item
      if (batch.length === maxBatch || familiesInFlight.has(familyId)) {
        left.push(entry)
      } else {
        familiesInFlight.add(familyId)
        batch.push(entry)
        leaveQueue(familyId)
      }
    }
    waiting = left
    return batch
  }

  function leaveQueue(familyId: string): void {
    const others = (waitingByFamily.get(familyId) ?? 1) - 1
    if (others === 0) waitingByFamily.delete(familyId)
    else waitingByFamily.set(familyId, others)
  }

  async function run(batch: readonly Entry<Item, Result>[]): Promise<void> {
    try {
      const results = await settle(batch.map(({ item }) => item))
      for (const entry of batch) {
        const result = results.get(entry.item)
        if (result === undefined) resubmit(entry)
        else entry.resolve(result)
      }
    } catch (error) {
      if (batch.length > 1 && mayRetry(error)) {
        // One bad item must not fail the rest of its batch.
        for (const entry of batch) await run([entry])
      } else {
        for (const entry of batch) entry.reject(error)
      }
    }
  }

  function resubmit(entry: Entry<Item, Result>): void {
    if (performance.now() - entry.since > maxLockedMs) {
      entry.reject(
        new AuthError('service_unavailable', 'the family is locked by another transaction', {
          retryAfterSeconds: 1,
        }),
      )
      return
    }
    setTimeout(() => {
      enqueue(entry)
      dispatch()
    }, lockedPauseMs)
  }
}
