/** What the page shows of a tail: a value that never changes once it was handed out. */
export type TailView<Event> = {
  /** Newest first. */
  readonly events: readonly Event[]
  /** All that came, whether they are shown or not. */
  readonly received: number
}

export type TailBuffer<Event> = {
  /** Shown from the next frame on, unless the filter refuses it. */
  push(event: Event): void
  /** Shows only such events from now on, and of those that came before, the ones that are still here. */
  filter(accepts: (event: Event) => boolean): void
  clear(): void
  readonly view: () => TailView<Event>
  readonly subscribe: (listener: () => void) => () => void
}

/**
 * Keeps the newest events of a stream for the page, which renders once a frame however many have come.
 *
 * @param options.capacity how many events are kept; the oldest are dropped
 * @param options.atNextFrame runs a function once, before the page is painted next. A hidden page has no frames
 */
export function createTailBuffer<Event>(options: {
  readonly capacity: number
  readonly atNextFrame: (run: () => void) => void
}): TailBuffer<Event> {
  const { capacity, atNextFrame } = options
  const listeners = new Set<() => void>()
  let accepts: (event: Event) => boolean = everything
  let waiting: Event[] = []
  let received = 0
  let isScheduled = false
  let view: TailView<Event> = { events: [], received }

  function show(events: readonly Event[]): void {
    view = { events, received }
    for (const listener of listeners) listener()
  }

  function showWaiting(): void {
    isScheduled = false
    const events = [...waiting.toReversed(), ...view.events].slice(0, capacity)
    waiting = []
    show(events)
  }

  return {
    push(event) {
      received += 1
      if (accepts(event)) waiting.push(event)
      // While the page is hidden. Not at each event: cutting the list costs as much as the list is long.
      if (waiting.length >= 2 * capacity) waiting = waiting.slice(-capacity)
      if (isScheduled) return
      isScheduled = true
      atNextFrame(showWaiting)
    },
    filter(next) {
      accepts = next
      waiting = waiting.filter(next)
      show(view.events.filter(next))
    },
    clear() {
      waiting = []
      received = 0
      show([])
    },
    view: () => view,
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}

function everything(): boolean {
  return true
}
