import { randomUUID } from 'node:crypto'

/** One virtual client's session, with the newest token it was given. */
export type BenchSession = {
  readonly familyId: string
  readonly userId: string
  readonly email: string
  token: string
  accessToken?: string
}

export type JobKind =
  'rotate' | 'recorded' | 'sign-in' | 'logout' | 'me' | 'list' | 'admin-list' | 'locked'

export type Job = {
  readonly fleet: string
  readonly kind: JobKind
  readonly url: string
  readonly connections: number
  readonly seconds: number
  /** Stops after this many requests, if that is sooner. */
  readonly count?: number
}

export type JobResult = {
  readonly count: number
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

/** A request and the check of its answer. */
export type Exchange = {
  request(session: BenchSession, origin: string): string
  /** Keeps the tokens of a correct answer. @throws {Error} for a wrong answer */
  accept(session: BenchSession, answer: { status: number; head: string; body: string }): void
  /** Whether the session can be used again. */
  readonly isRepeatable: boolean
}

export const benchPassword = 'correct horse battery staple'

const userAgent =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36'

export const exchanges: Record<JobKind, Exchange> = {
  rotate: {
    request: (session, origin) =>
      post('/auth/refresh', origin, { attemptId: randomUUID() }, session.token),
    accept: acceptRotation,
    isRepeatable: true,
  },
  /** The request of a rotation, answered with the bytes of another one. */
  recorded: {
    request: (session, origin) =>
      post('/auth/refresh', origin, { attemptId: randomUUID() }, session.token),
    accept(_session, answer) {
      if (dataOf(answer).accessToken === undefined || cookieOf(answer) === '')
        throw new Error('not the answer of a rotation')
    },
    isRepeatable: true,
  },
  /** A family that another transaction has locked: it is granted when free, or refused with 503. */
  locked: {
    request: (session, origin) =>
      post('/auth/refresh', origin, { attemptId: randomUUID() }, session.token),
    accept(session, answer) {
      if (answer.status === 503 && /retry-after: \d/i.test(answer.head)) return
      acceptRotation(session, answer)
    },
    isRepeatable: true,
  },
  'sign-in': {
    request: (session, origin) =>
      post('/auth/login', origin, { email: session.email, password: benchPassword }),
    accept(session, answer) {
      const { user } = dataOf(answer)
      const { generation } = readToken(cookieOf(answer))
      if (user.id !== session.userId || generation !== 0) throw new Error('another user signed in')
    },
    isRepeatable: true,
  },
  logout: {
    request: (session, origin) => post('/auth/logout', origin, {}, session.token),
    accept(_session, answer) {
      if (dataOf(answer).revoked !== 1 || cookieOf(answer) !== '')
        throw new Error('the session was not ended')
    },
    isRepeatable: false,
  },
  me: {
    request: (session, origin) => get('/trpc/me', origin, session.accessToken!),
    accept(session, answer) {
      if (dataOf(answer).user.id !== session.userId)
        throw new Error('the answer is about another user')
    },
    isRepeatable: true,
  },
  list: {
    request: (session, origin) => get('/trpc/sessions.list', origin, session.accessToken!),
    accept(session, answer) {
      const { items } = dataOf(answer)
      if (!items.some((item: { familyId: string }) => item.familyId === session.familyId))
        throw new Error('the session of the caller is missing in the list')
    },
    isRepeatable: true,
  },
  'admin-list': {
    request: ({ userId, accessToken }, origin) => {
      const input = encodeURIComponent(JSON.stringify({ userId }))
      return get(`/trpc/admin.sessions.list?input=${input}`, origin, accessToken!)
    },
    accept(session, answer) {
      const { items } = dataOf(answer)
      if (!items.every((item: { userId: string }) => item.userId === session.userId))
        throw new Error('the list holds a session of another user')
      if (!items.some((item: { familyId: string }) => item.familyId === session.familyId))
        throw new Error('a session is missing in the list')
    },
    isRepeatable: true,
  },
}

function acceptRotation(session: BenchSession, answer: Answer): void {
  const data = dataOf(answer)
  const successor = cookieOf(answer)
  const before = readToken(session.token)
  const after = readToken(successor)
  if (
    data.familyId !== session.familyId ||
    after.family !== before.family ||
    after.generation !== before.generation + 1
  )
    throw new Error('the token is not the successor')
  session.token = successor
  session.accessToken = data.accessToken
}

type Answer = { readonly status: number; readonly head: string; readonly body: string }

function dataOf({ status, body }: Answer) {
  if (status !== 200) throw new Error(`answered ${status}: ${body.slice(0, 300)}`)
  return JSON.parse(body).result.data
}

function cookieOf({ head }: Answer): string {
  const cookie = /set-cookie: (?:\d+-)?refresh_token=([^;]*);/i.exec(head)
  if (cookie === null) throw new Error('no cookie was set')
  return cookie[1]!
}

/** The family and the generation in a token: its first 20 bytes, in 27 characters. */
export function readToken(token: string): { family: string; generation: number } {
  const bytes = Buffer.from(token.slice(5, 33), 'base64url')
  return { family: bytes.toString('latin1', 0, 16), generation: bytes.readUInt32BE(16) }
}

function post(path: string, origin: string, input: unknown, cookie?: string): string {
  const body = JSON.stringify(input)
  return (
    `POST ${path} HTTP/1.1\r\nHost: ${origin.slice('http://'.length)}\r\nOrigin: ${origin}\r\n` +
    `User-Agent: ${userAgent}\r\nContent-Type: application/json\r\n` +
    (cookie === undefined ? '' : `Cookie: refresh_token=${cookie}\r\n`) +
    `Content-Length: ${body.length}\r\n\r\n${body}`
  )
}

function get(path: string, origin: string, accessToken: string): string {
  return (
    `GET ${path} HTTP/1.1\r\nHost: ${origin.slice('http://'.length)}\r\n` +
    `User-Agent: ${userAgent}\r\nAuthorization: Bearer ${accessToken}\r\n\r\n`
  )
}
