export type Signal = {
  notify(): void
  /** Waits for the next ring, `ms` at most. */
  wait(ms: number): Promise<void>
}

/** For those who wait for something that may not come. It keeps no process alive. */
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
        const timer = setTimeout(wake, ms).unref()
        waiting.add(wake)
      }),
  }
}
