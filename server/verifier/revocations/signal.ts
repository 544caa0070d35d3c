export type Signal = {
  notify(): void
  /** Waits for the next `notify`, for `ms` milliseconds at most. */
  wait(ms: number): Promise<void>
}

/** Lets several callers wait for a notification with a timeout. A waiting caller does not keep the process alive. */
export function createSignal(): Signal {
  const waiting = new Set<() => void>()
  return {
    notify() {
      for (const wake of waiting) wake()
    },
    wait: (ms) =>
      new Promise((resolve) => {
        const wake = () => {
          clearTimeout(timer)
          waiting.delete(wake)
          resolve()
        }
        const timer = setTimeout(wake, ms)
        unref(timer)
        waiting.add(wake)
      }),
  }
}

/** Only Node waits for its timers before it ends. Elsewhere a timer is a number. */
function unref(timer: object | number): void {
  if (typeof timer === 'object' && 'unref' in timer && typeof timer.unref === 'function')
    timer.unref()
}
