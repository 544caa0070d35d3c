import { PoolFull } from './bounded.ts'

/** Questions of one statement. */
const maxTogether = 64

/** As a pool that runs one statement for each question would take. */
const maxUnanswered = 300

/**
 * Asks the questions that come in one turn of the event loop in one statement. Calls arrive together when the service
 * is busy, and a short statement costs more than what it finds.
 *
 * @param ask one statement; its answers are in the order of the questions
 * @returns what asks one question. It throws what `ask` throws, and `PoolFull` while 300 questions have no answer
 */
export function askTogether<Question, Answer>(
  ask: (questions: readonly Question[]) => Promise<readonly Answer[]>,
): (question: Question) => Promise<Answer> {
  type Asked = {
    readonly question: Question
    readonly resolve: (answer: Answer) => void
    readonly reject: (error: unknown) => void
  }
  let ofThisTurn: Asked[] = []
  let unanswered = 0

  function send(): void {
    const all = ofThisTurn
    ofThisTurn = []
    for (let at = 0; at < all.length; at += maxTogether)
      void answer(all.slice(at, at + maxTogether))
  }

  async function answer(asked: readonly Asked[]): Promise<void> {
    try {
      const answers = await ask(asked.map(({ question }) => question))
      for (const [i, { resolve }] of asked.entries()) resolve(answers[i] as Answer)
    } catch (error) {
      for (const { reject } of asked) reject(error)
    } finally {
      unanswered -= asked.length
    }
  }

  return async (question) => {
    if (unanswered >= maxUnanswered)
      throw new PoolFull(`${maxUnanswered} questions have no answer yet`)
    unanswered += 1
    return new Promise((resolve, reject) => {
      if (ofThisTurn.length === 0) setImmediate(send)
      ofThisTurn.push({ question, resolve, reject })
    })
  }
}
