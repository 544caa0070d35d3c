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

/** A network has places for eight that wait after its wrong password; more are refused before they are counted. */
const atOnce = 5

/** Sends guesses of one network, a few at a time, so that each of them is counted. */
export async function sendGuesses<T>(
  count: number,
  guess: (i: number) => Promise<T>,
): Promise<T[]> {
  const answers: T[] = []
  while (answers.length < count) {
    const some = Math.min(atOnce, count - answers.length)
    const sent = Array.from({ length: some }, (_, k) => guess(answers.length + k))
    answers.push(...(await Promise.all(sent)))
  }
  return answers
}
