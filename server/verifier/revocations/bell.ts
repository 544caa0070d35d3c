export type Bell = {
  ring(): void
  /** Waits for the next ring, `ms` at most. */
  wait(ms: number): Promise<void>
}

/** For those who wait for something that may not come. It keeps no process alive. */
export function createBell(): Bell {
  const waiting = new Set<() => void>()
  return {
    ring() {
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
