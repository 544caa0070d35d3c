import { AuthError } from '../errors.ts'

export type HashQueue = {
  /**
   * Runs `work` when a slot is free. `false` is a wrong password.
   *
   * @param network has its turn with all others; callers without one share a turn
   * @throws {AuthError} `service_unavailable`, immediately, if the queue is full; or later, if it is full and
   * the place goes to a network that has none; `too_many_attempts`, immediately, if many of a network wait after
   * its wrong password
   */
  run<T>(work: () => Promise<T>, network?: string): Promise<T>
  /**
   * Refuses as `run` would now, before the caller does other work for it.
   *
   * @throws {AuthError} `too_many_attempts`, if many of the network wait after its wrong password
   */
  refuseIfResting(network: string): void
  load(): HashLoad
}

/** The load now: `active` hashes run, `waiting` callers are queued. */
export type HashLoad = { readonly active: number; readonly waiting: number }

export type HashQueueOptions = { readonly concurrency: number; readonly queueLimit: number }

type Waiter = { readonly begin: () => void; readonly shed: (error: AuthError) => void }

/**
 * A network that checked a wrong password waits this many times as long as the check took. So the guesses of one
 * network take a quarter of the time of a slot.
 */
const restFactor = 3

/** Further callers of a network that waits after a wrong password are refused. */
const mostResting = 8

/**
 * Limits the resources that password hashing takes (ASVS 15.2.2). A slot is held until the work itself
 * ends: a client that hangs up frees no slot and cannot raise the concurrency.
 *
 * Networks are served in turn, so a flood from one of them delays the others by one hash each. While the
 * queue is full, a network that has no place in it takes the newest place of the one that has most.
 */
export function createHashQueue({ concurrency, queueLimit }: HashQueueOptions): HashQueue {
  if (!Number.isInteger(concurrency) || concurrency < 1) {
    throw new RangeError(`concurrency must be a whole number of at least 1, not ${concurrency}`)
  }
  if (!Number.isInteger(queueLimit) || queueLimit < 0) {
    throw new RangeError(`queueLimit must be a whole number of at least 0, not ${queueLimit}`)
  }
  let active = 0
  let waiting = 0
  /** The first network that does not rest has the next turn; then it goes to the end. */
  const turns = new Map<string, Waiter[]>()
  /** Networks that wait after a wrong password, each with the timer that ends it. */
  const resting = new Map<string, NodeJS.Timeout>()

  async function run<T>(work: () => Promise<T>, network = ''): Promise<T> {
    if (active < concurrency && !resting.has(network)) active += 1
    else {
      refuseIfResting(network)
      if (waiting >= queueLimit) makeRoomFor(network)
      await new Promise<void>((resolve, reject) =>
        enqueue(network, { begin: resolve, shed: reject }),
      )
    }
    const startedAt = performance.now()
    try {
      const result = await work()
      if (result === false && network !== '')
        rest(network, restFactor * (performance.now() - startedAt))
      return result
    } finally {
      active -= 1
      beginNext()
    }
  }

  function rest(network: string, ms: number): void {
    const timer = setTimeout(() => {
      if (resting.get(network) !== timer) return
      resting.delete(network)
      beginNext()
    }, ms)
    resting.set(network, timer)
  }

  /** Takes a free slot at once for the next caller in the queue, so that no later caller can overtake it. */
  function beginNext(): void {
    while (active < concurrency) {
      const next = dequeue()
      if (next === undefined) return
      active += 1
      next.begin()
    }
  }

  function enqueue(network: string, waiter: Waiter): void {
    const queued = turns.get(network)
    if (queued === undefined) turns.set(network, [waiter])
    else queued.push(waiter)
    waiting += 1
  }

  function dequeue(): Waiter | undefined {
    const turn = [...turns].find(([network]) => !resting.has(network))
    if (turn === undefined) return undefined
    const [network, queued] = turn
    turns.delete(network)
    const next = queued.shift()
    if (queued.length > 0) turns.set(network, queued)
    waiting -= 1
    return next
  }

  function refuseIfResting(network: string): void {
    const queued = turns.get(network)?.length ?? 0
    if (resting.has(network) && queued >= mostResting)
      throw new AuthError('too_many_attempts', `${queued} passwords of ${network} wait`, {
        retryAfterSeconds: 1,
      })
  }

  /** @throws {AuthError} `service_unavailable` if the network has a place, or no other has two */
  function makeRoomFor(network: string): void {
    const detail = `password hashing is full: ${active} running, ${waiting} waiting`
    const full = new AuthError('service_unavailable', detail, { retryAfterSeconds: 1 })
    const most = [...turns.values()].toSorted((a, b) => b.length - a.length)[0]
    if (turns.has(network) || most === undefined || most.length < 2) throw full
    most.pop()?.shed(full)
    waiting -= 1
  }

  return { run, refuseIfResting, load: () => ({ active, waiting }) }
}
