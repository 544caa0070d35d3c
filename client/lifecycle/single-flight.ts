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
    /** The next caller begins anew; those who share the running one keep it. */
    forget(): void {
      inFlight = null
    },
  }
}
