import { AuthError } from '../errors.ts'

/**
 * What reads the whole ledger for minutes and holds a connection meanwhile: verification and exports. One at a time in a
 * process, because admins' questions have two connections.
 */
export type LongReads = {
  /**
   * @returns releases it
   * @throws {AuthError} `too_many_attempts` while another one runs
   */
  take(): () => void
}

export function createLongReads(): LongReads {
  let isTaken = false
  return {
    take() {
      if (isTaken)
        throw new AuthError('too_many_attempts', 'another verification or export runs', {
          retryAfterSeconds: 30,
          problem: 'Another verification or export of the whole ledger is running.',
        })
      isTaken = true
      return () => (isTaken = false)
    },
  }
}
