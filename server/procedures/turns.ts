import { createKeyedMutex, MutexFull } from '../../db/connection/keyed-mutex.ts'
import { AuthError } from '../errors.ts'

/** Two batches of the largest size: more of one user are refused at once. */
const maxWaiting = 20

/**
 * Runs the questions of one user one after the other, in this process: a user never has more than one
 * connection of a pool.
 *
 * @throws {AuthError} `too_many_attempts` when 20 questions of the user wait
 */
export type Turns = <T>(userId: string, ask: () => Promise<T>) => Promise<T>

export function createTurns(): Turns {
  const runExclusive = createKeyedMutex({ maxWaiting })
  return async (userId, ask) => {
    try {
      return await runExclusive(userId, ask)
    } catch (error) {
      if (!(error instanceof MutexFull)) throw error
      throw new AuthError('too_many_attempts', `${maxWaiting} questions of the user wait`, {
        retryAfterSeconds: 1,
      })
    }
  }
}
