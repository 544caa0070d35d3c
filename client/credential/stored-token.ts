import { field, isGrant, type Grant } from '../auth-api.ts'
import { AuthClientError } from '../errors.ts'

/** The content of the store. The attempt id is stored before the request: a killed process repeats the attempt. */
export type Stored = {
  readonly refreshToken: string
  /** Of the attempt with this token that has no answer yet, shared by all processes; null without one. */
  readonly attemptId: string | null
  readonly signOut: 'here' | 'everywhere' | null
  /** Requests whose outcome is unknown, by an id, and the time (`Date.now()`) at which each is given up. */
  readonly inFlight: Readonly<Record<string, number>>
  /** With `keepAccessToken`: the answer that the token came with, and when it was stored (`Date.now()`). */
  readonly kept: { readonly grant: Grant; readonly at: number } | null
}

export function freshOf({ refreshToken, ...grant }: Grant, keepAccessToken = false): Stored {
  if (refreshToken === undefined) throw new AuthClientError('unreadable_answer')
  const kept = keepAccessToken ? { grant, at: Date.now() } : null
  return { refreshToken, attemptId: null, signOut: null, inFlight: {}, kept }
}

/** The kept answer, if more than a quarter of its access token's lifetime is left. */
export function grantIn({ kept, signOut }: Stored): Grant | null {
  if (kept === null || signOut !== null) return null
  const lifetimeMs = kept.grant.expiresIn * 1000
  const leftMs = kept.at + lifetimeMs - Date.now()
  // More than all of it is left when the clock was set back.
  if (leftMs < lifetimeMs / 4 || leftMs > lifetimeMs) return null
  return { ...kept.grant, expiresIn: leftMs / 1000 }
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
    kept: keptIn(field(value, 'kept')),
  }
}

function keptIn(value: unknown): Stored['kept'] {
  const grant = field(value, 'grant')
  const at = field(value, 'at')
  return isGrant(grant) && typeof at === 'number' ? { grant, at } : null
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
