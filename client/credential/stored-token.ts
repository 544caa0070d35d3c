import { field, type Grant } from '../auth-api.ts'
import { AuthClientError } from '../errors.ts'

/** The content of the store. The attempt id is stored before the request: a killed process repeats the attempt. */
export type Stored = {
  readonly refreshToken: string
  /** Of the attempt with this token that has no answer yet, shared by all processes; null without one. */
  readonly attemptId: string | null
  readonly signOut: 'here' | 'everywhere' | null
  /** Requests whose outcome is unknown, by an id, and the time (`Date.now()`) at which each is given up. */
  readonly inFlight: Readonly<Record<string, number>>
}

export function freshOf({ refreshToken }: Grant): Stored {
  if (refreshToken === undefined) throw new AuthClientError('unreadable_answer')
  return { refreshToken, attemptId: null, signOut: null, inFlight: {} }
}

/** Any other text counts as an empty token, which the server refuses. */
export function parse(text: string | null): Stored {
  const value: unknown = text === null ? null : tryParse(text)
  const refreshToken = field(value, 'refreshToken')
  const attemptId = field(value, 'attemptId')
  const signOut = field(value, 'signOut')
  return {
    refreshToken: typeof refreshToken === 'string' ? refreshToken : '',
    attemptId: typeof attemptId === 'string' ? attemptId : null,
    signOut: signOut === 'here' || signOut === 'everywhere' ? signOut : null,
    inFlight: timesIn(field(value, 'inFlight')),
  }
}

function timesIn(value: unknown): Record<string, number> {
  const entries = Object.entries(value ?? {}) as [string, unknown][]
  return Object.fromEntries(
    entries.filter((entry): entry is [string, number] => typeof entry[1] === 'number'),
  )
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
