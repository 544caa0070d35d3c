import { field, type Grant } from '../auth-api.ts'
import { AuthClientError } from '../errors.ts'

/** What stands in the store. The attempt is stored before it is made: a killed process repeats it. */
export type Stored = {
  readonly refreshToken: string
  /** Of the attempt with this token that is not settled; every process that shares the store uses it. */
  readonly attemptId: string | null
  readonly signOut: 'here' | 'everywhere' | null
}

export function freshOf({ refreshToken }: Grant): Stored {
  if (refreshToken === undefined) throw new AuthClientError('unreadable_answer')
  return { refreshToken, attemptId: null, signOut: null }
}

/** A text that is not ours counts as no token: the server would not know it either. */
export function parse(text: string | null): Stored {
  const value: unknown = text === null ? null : tryParse(text)
  const refreshToken = field(value, 'refreshToken')
  const attemptId = field(value, 'attemptId')
  const signOut = field(value, 'signOut')
  return {
    refreshToken: typeof refreshToken === 'string' ? refreshToken : '',
    attemptId: typeof attemptId === 'string' ? attemptId : null,
    signOut: signOut === 'here' || signOut === 'everywhere' ? signOut : null,
  }
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
