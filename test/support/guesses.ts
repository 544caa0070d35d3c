import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Sends a guess again, after the second that it is told to wait, while too many guesses of its network wait for password
 * hashing: such a guess is refused before it is counted. The limits themselves say to wait for minutes.
 */
export async function untilCounted<
  T extends { readonly status: number; readonly headers: Headers },
>(guess: () => Promise<T>): Promise<T> {
  for (;;) {
    const answer = await guess()
    const isRefusedByLine = answer.status === 429 && answer.headers.get('retry-after') === '1'
    if (!isRefusedByLine) return answer
    await sleep(1_000)
  }
}
