import { randomUUID } from 'node:crypto'
import { testPassword } from '../../support/users.ts'

/** What an attacker has: a user of its own with open sessions, and an account that it knows of. */
export type Means = {
  /** An address in a network of its own. */
  readonly from: string
  readonly email: string
  readonly accessToken: string
  /** The newest refresh token of each session. */
  readonly refreshTokens: readonly string[]
  readonly spentToken: string
  readonly knownEmail: string
}

export type Sent = {
  readonly path: string
  /** The address that the attacker comes from. */
  readonly from: string
  readonly accessToken?: string
  /** Sent with POST. */
  readonly json?: unknown
  /** Called with `result.data` of a 200. */
  readonly accept?: (data: any) => void
}

export type Attack = {
  readonly title: string
  /** How often it is made: all at fifty a second, those that are refused at 1,500 as well. */
  readonly rates: readonly number[]
  /** Makes the function that makes the n-th request. */
  readonly prepare: (means: Means) => (n: number) => Sent
}

const slow = 50
const fast = 1_500
const guesser = '203.0.113.9'
const wrongPassword = 'not the password at all'

const login = (from: string, email: string, password: string): Sent => ({
  path: '/auth/login',
  from,
  json: { email, password, transport: 'body' },
})

const refresh = (from: string, refreshToken: string, accept?: Sent['accept']): Sent => ({
  path: '/auth/refresh',
  from,
  json: { refreshToken, attemptId: randomUUID() },
  ...(accept && { accept }),
})

/** Refreshes these sessions in turn, each with its newest token. */
function refreshInTurn(from: string, refreshTokens: readonly string[]): (n: number) => Sent {
  const newest = [...refreshTokens]
  return (n) => {
    const at = n % newest.length
    const token = newest[at]!
    return refresh(from, token, (data) => {
      if (newest[at] === token) newest[at] = data.refreshToken
    })
  }
}

let strangers = 0
const stranger = () => `stranger-${++strangers}@example.com`

/** Another /64 of this /48 for each of 65,536 requests. */
const networkOf = (prefix: string, n: number) => `${prefix}:${(n % 0x1_00_00).toString(16)}::1`

export const attacks: readonly Attack[] = [
  {
    title: 'wrong passwords from one address',
    rates: [slow, fast],
    prepare: () => () => login(guesser, stranger(), wrongPassword),
  },
  {
    title: 'wrong passwords from one IPv6 /48, a /64 each',
    rates: [slow, fast],
    prepare: () => (n) => login(networkOf('2001:db8:1', n), stranger(), wrongPassword),
  },
  {
    title: 'wrong passwords for one known account, a /64 each',
    rates: [slow],
    prepare:
      ({ knownEmail }) =>
      (n) =>
        login(networkOf('2001:db8:2', n), knownEmail, wrongPassword),
  },
  {
    title: 'refresh tokens that are junk',
    rates: [slow, fast],
    prepare: () => () => refresh(guesser, `tlr1.${'A'.repeat(91)}`),
  },
  { title: '`/readyz`', rates: [slow], prepare: () => () => ({ path: '/readyz', from: guesser }) },
  {
    title: 'forged access tokens at `me`',
    rates: [slow, fast],
    prepare: (means) => {
      const accessToken = withAdminRole(means.accessToken)
      return () => ({ path: '/trpc/me', from: guesser, accessToken })
    },
  },
  {
    title: 'a user: sign-ins with the right password',
    rates: [slow],
    prepare:
      ({ from, email }) =>
      () =>
        login(from, email, testPassword),
  },
  {
    title: 'a user: refreshes of one session',
    rates: [slow, fast],
    prepare: ({ from, refreshTokens }) => refreshInTurn(from, refreshTokens.slice(0, 1)),
  },
  {
    title: 'a user: refreshes of 90 sessions in turn',
    rates: [slow],
    prepare: ({ from, refreshTokens }) => refreshInTurn(from, refreshTokens),
  },
  {
    title: 'a user: one spent refresh token',
    rates: [slow],
    prepare:
      ({ from, spentToken }) =>
      () =>
        refresh(from, spentToken),
  },
  {
    title: 'a user: `changePassword`',
    rates: [slow],
    prepare:
      ({ from, accessToken }) =>
      () => ({
        path: '/trpc/account.changePassword',
        from,
        accessToken,
        json: { currentPassword: testPassword, newPassword: testPassword },
      }),
  },
  {
    title: 'a user: `sessions.list`, seven in a request',
    rates: [slow, fast],
    prepare: ({ from, accessToken }) => {
      const inputs = Object.fromEntries(Array.from({ length: 7 }, (_, i) => [i, { limit: 200 }]))
      const names = Array.from({ length: 7 }, () => 'sessions.list').join()
      const path = `/trpc/${names}?batch=1&input=${encodeURIComponent(JSON.stringify(inputs))}`
      return () => ({ path, from, accessToken })
    },
  },
]

/** The same token with another role; its signature is not one of that. */
function withAdminRole(accessToken: string): string {
  const [header, payload, signature] = accessToken.split('.')
  const claims = JSON.parse(Buffer.from(payload!, 'base64url').toString())
  const changed = Buffer.from(JSON.stringify({ ...claims, role: 'admin' })).toString('base64url')
  return `${header}.${changed}.${signature}`
}
