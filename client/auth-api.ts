import type { Reason } from '../server/errors.ts'
import type {
  AuthInputs,
  AuthOutputs,
  Credentials,
  Grant,
  Reauthenticated,
  User,
} from './auth-calls.ts'
import { AuthClientError } from './errors.ts'

export type { Credentials, Grant, Reauthenticated, User }

type AuthProcedure = keyof AuthOutputs

/** Calls `POST /auth/<procedure>`. Rejects only with `AuthClientError`. */
export type AuthApi = <P extends AuthProcedure>(
  procedure: P,
  input: AuthInputs[P],
  signal?: AbortSignal | null,
) => Promise<AuthOutputs[P]>

export type Fetch = typeof globalThis.fetch

/** Longer than any answer takes on a working connection; other tabs wait for the lock meanwhile. */
export const requestTimeoutMs = 10_000

export function createAuthApi(options: {
  baseUrl: string
  fetch: Fetch
  credentials: RequestCredentials
}): AuthApi {
  return async (procedure, input, signal = null) => {
    const url = `${options.baseUrl}/auth/${procedure}`
    const data = await askService(options.fetch, url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(input),
      credentials: options.credentials,
      // Lets a sign-out finish when the page is closed.
      keepalive: procedure === 'logout',
      signal,
    })
    return outputOf(procedure, data)
  }
}

/** @returns `result.data` of the answer. Rejects only with `AuthClientError`. */
export async function askService(fetch: Fetch, url: string, init: RequestInit): Promise<unknown> {
  const { response, body } = await withTimeout(init.signal, async (signal) => {
    const answer = await fetch(url, {
      ...init,
      // The service does not redirect. A captive portal does. Edge workers do not know `error`.
      redirect: 'manual',
      signal,
    })
    return { response: answer, body: await readJson(answer) }
  })
  if (!response.ok) throw refusalIn(response, body)
  return field(body, 'result', 'data')
}

async function withTimeout<T>(
  signal: AbortSignal | null | undefined,
  task: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const either = new AbortController()
  const abort = () => either.abort()
  const timer = setTimeout(abort, requestTimeoutMs)
  signal?.addEventListener('abort', abort)
  try {
    if (signal?.aborted) throw new AuthClientError('superseded')
    const answer = await task(either.signal)
    // A `fetch` may answer all the same.
    if (signal?.aborted) throw new AuthClientError('superseded')
    return answer
  } catch (error) {
    if (error instanceof AuthClientError) throw error
    if (signal?.aborted) throw new AuthClientError('superseded', { cause: error })
    const reason = either.signal.aborted ? 'timeout' : 'network_error'
    throw new AuthClientError(reason, { cause: error })
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  }
}

async function readJson(response: Response): Promise<unknown> {
  const text = await response.text()
  try {
    return JSON.parse(text)
  } catch {
    throw unreadable(response)
  }
}

/** Only an error in the service's envelope counts: a proxy's 401 says nothing about the session. */
function refusalIn(response: Response, body: unknown): AuthClientError {
  const data = field(body, 'error', 'data')
  const reason = field(data, 'reason')
  if (typeof reason !== 'string' || field(data, 'httpStatus') !== response.status)
    return unreadable(response)
  const message = field(body, 'error', 'message')
  const incidentId = field(data, 'incidentId')
  const retryAfterSeconds = field(data, 'retryAfterSeconds')
  return new AuthClientError(reason as Reason, {
    message: typeof message === 'string' ? message : undefined,
    incidentId: typeof incidentId === 'string' ? incidentId : undefined,
    retryAfterSeconds: typeof retryAfterSeconds === 'number' ? retryAfterSeconds : undefined,
  })
}

function outputOf<P extends AuthProcedure>(procedure: P, data: unknown): AuthOutputs[P] {
  const isWhole = procedure === 'logout' ? field(data, 'success') === true : isGrant(data)
  if (!isWhole) throw new AuthClientError('unreadable_answer')
  return data as AuthOutputs[P]
}

export function isGrant(data: unknown): data is Grant {
  const expiresIn = field(data, 'expiresIn')
  const texts = [['accessToken'], ['familyId'], ['refreshExpiresAt'], ['user', 'id']]
  return (
    texts.every((path) => typeof field(data, ...path) === 'string') &&
    typeof expiresIn === 'number' &&
    expiresIn > 0
  )
}

function unreadable(response: Response): AuthClientError {
  const seconds = Number(response.headers.get('retry-after'))
  return new AuthClientError('unreadable_answer', {
    message: `The response (HTTP ${response.status}) is not from the service.`,
    retryAfterSeconds: seconds > 0 ? seconds : undefined,
  })
}

/** What a value that was not checked has at this path of names; undefined if it does not reach so far. */
export function field(value: unknown, ...path: string[]): unknown {
  return path.reduce(
    (at, name) => (at as Record<string, unknown> | null | undefined)?.[name],
    value,
  )
}
