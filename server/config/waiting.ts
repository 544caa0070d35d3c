export type Wait = {
  /** What holds the start up, as it is known by now; null while nothing does. */
  readonly what: () => string | null
  /** Without it, the work has bounds of its own. */
  readonly atMostMs?: number
  readonly sayAfterMs?: number
  readonly say?: (line: string) => void
}

/** The work of a start took too long. The message is one line. */
export class StartTimeout extends Error {
  override readonly name = 'StartTimeout'
}

/**
 * Runs a step of a start. One that takes more than two seconds says once, on stderr, what it waits for.
 *
 * @throws {StartTimeout} after `atMostMs`; the work may go on
 */
export async function waitingFor<T>(wait: Wait, work: () => Promise<T>): Promise<T> {
  const { what, atMostMs = Infinity, sayAfterMs = 2_000, say = sayOnStderr } = wait
  const startedAt = performance.now()
  let isSaid = false
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setInterval(
      () => {
        const waitedMs = performance.now() - startedAt
        const found = what()
        if (waitedMs >= atMostMs) reject(timeoutOf(found, atMostMs))
        if (waitedMs < sayAfterMs || isSaid || found === null) return
        isSaid = true
        say(`waiting for ${found}`)
      },
      Math.min(100, sayAfterMs),
    )
  })
  try {
    return await Promise.race([work(), timeout])
  } finally {
    clearInterval(timer)
  }
}

function timeoutOf(found: string | null, atMostMs: number): StartTimeout {
  return new StartTimeout(`gave up after ${atMostMs / 1000} s of waiting for ${found ?? 'a step'}`)
}

function sayOnStderr(line: string): void {
  console.error(`token-ledger: ${line}`)
}
