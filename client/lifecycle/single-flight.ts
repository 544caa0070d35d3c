/** Runs `task` at most once at a time: callers that arrive while it runs share its result. */
export function singleFlight<T>(task: () => Promise<T>) {
  let inFlight: Promise<T> | null = null
  return {
    run(): Promise<T> {
      if (inFlight !== null) return inFlight
      const own = task().finally(() => {
        if (inFlight === own) inFlight = null
      })
      inFlight = own
      return own
    },
    /** The next call starts a new run. Callers of the current one still get its result. */
    forget(): void {
      inFlight = null
    },
  }
}
