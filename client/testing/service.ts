import type { Grant, User } from '../auth-api.ts'
import type { Reason } from '../../server/errors.ts'
import type { TestIssuer } from './issuer.ts'

export type FakeServiceOptions = {
  /** The user with a session at first; null, the default, for none. */
  readonly user?: User | null
  /** Signs real access tokens, which a verifier accepts. Without it tokens are texts such as `fake-access-token-1`. */
  readonly issuer?: TestIssuer
  /** Epoch milliseconds: when the user at first authenticated; now unless given. For tests of a step-up. */
  readonly authenticatedAt?: number
}

/** A token-ledger service in memory, with one browser's session. Any address and password signs in. */
export type FakeService = {
  /** The user with a session; null for none. */
  readonly user: User | null
  /** Begins a session of this user, as a sign-in in another tab does. */
  signIn(user: User): void
  /** Ends the session, as from elsewhere: the next refresh is refused with the reason. */
  endSession(reason?: 'session_revoked' | 'session_expired' | 'refresh_token_reused'): void
  /** The next call to `/auth` is refused with this reason: `invalid_credentials`, `too_many_attempts`, … */
  refuseNext(reason: Reason): void
  /** While true, calls fail as without a network. */
  isUnreachable: boolean
  /** Answers a request to the service; 404 for what it does not have. */
  answer(request: Request): Promise<Response>
}

/** HTTP statuses of the reasons; 401 for the others. */
const statuses: Partial<Record<Reason, number>> = {
  validation_failed: 400,
  origin_not_allowed: 403,
  role_required: 403,
  registration_closed: 403,
  not_found: 404,
  email_taken: 409,
  too_many_attempts: 429,
  internal_error: 500,
  service_unavailable: 503,
}

const dayMs = 24 * 60 * 60 * 1000
const lifetimeSeconds = 900

export function createFakeService(options: FakeServiceOptions = {}): FakeService {
  const { issuer } = options
  let user = options.user ?? null
  let familyId = newFamilyId()
  let ended: Reason = 'refresh_token_missing'
  let refusal: Reason | null = null
  let tokens = 0
  let authenticatedAt = options.authenticatedAt ?? Date.now()

  function signIn(next: User): void {
    user = next
    familyId = newFamilyId()
    authenticatedAt = Date.now()
  }

  async function newToken(owner: User, audience?: string) {
    tokens += 1
    const about = { familyId, authenticatedAt, ...(audience !== undefined && { audience }) }
    const accessToken = (await issuer?.signFor(owner, about)) ?? `fake-access-token-${tokens}`
    return { accessToken, tokenType: 'Bearer' as const, expiresIn: lifetimeSeconds }
  }

  async function grantFor(owner: User): Promise<Grant> {
    const refreshExpiresAt = new Date(Date.now() + dayMs).toISOString()
    const refreshToken = 'fake-refresh-token'
    return { ...(await newToken(owner)), familyId, refreshExpiresAt, user: owner, refreshToken }
  }

  async function signInWith(input: Input): Promise<Response> {
    const email = textOf(input, 'email')
    // The same person again keeps the id.
    signIn(user?.email === email ? user : { id: crypto.randomUUID(), email, role: 'user' })
    return data(await grantFor(user as User))
  }

  const calls: Record<string, (input: Input) => Promise<Response>> = {
    'POST /auth/login': signInWith,
    'POST /auth/register': signInWith,
    'POST /auth/refresh': async () => (user === null ? refused(ended) : data(await grantFor(user))),
    'POST /auth/reauthenticate': async () => {
      if (user === null) return refused(ended)
      authenticatedAt = Date.now()
      return data({ ...(await grantFor(user)), isReauthenticated: true })
    },
    'POST /auth/logout': async () => {
      const revoked = user === null ? 0 : 1
      user = null
      ended = 'refresh_token_missing'
      return data({ success: true, revoked })
    },
    'GET /trpc/me': async () =>
      user === null
        ? refused('access_token_revoked')
        : data({
            user,
            familyId,
            accessTokenExpiresAt: soon(),
            authenticatedAt: new Date(authenticatedAt).toISOString(),
            methods: ['pwd'],
          }),
    'GET /trpc/tokens.exchange': async (input) => {
      const audience = textOf(input, 'audience')
      return user === null
        ? refused('access_token_revoked')
        : data({ ...(await newToken(user, audience)), audience })
    },
    'GET /.well-known/jwks.json': async () => Response.json(issuer?.jwks ?? { keys: [] }),
  }

  return {
    get user() {
      return user
    },
    signIn,
    endSession(reason = 'session_revoked') {
      user = null
      ended = reason
    },
    refuseNext(reason) {
      refusal = reason
    },
    isUnreachable: false,
    async answer(request) {
      if (this.isUnreachable) throw new TypeError('the fake service is unreachable')
      const { pathname, searchParams } = new URL(request.url)
      const reason = pathname.startsWith('/auth/') ? refusal : null
      if (reason !== null) {
        refusal = null
        return refused(reason)
      }
      const call = calls[`${request.method} ${pathname}`]
      if (call === undefined) return refused('not_found')
      const input = request.method === 'POST' ? await request.text() : searchParams.get('input')
      return call(JSON.parse(input || '{}') as Input)
    },
  }
}

/** When an access token of now expires. */
function soon(): string {
  return new Date(Date.now() + lifetimeSeconds * 1000).toISOString()
}

type Input = Readonly<Record<string, unknown>>

function textOf(input: Input, name: string): string {
  const value = input[name]
  return typeof value === 'string' ? value : ''
}

function data(value: unknown): Response {
  return Response.json({ result: { data: value } })
}

function refused(reason: Reason): Response {
  const httpStatus = statuses[reason] ?? 401
  const error = { message: reason, code: -32000, data: { httpStatus, reason } }
  return Response.json({ error }, { status: httpStatus })
}

/** A UUIDv7, as the service makes them (RFC 9562 §5.7). */
function newFamilyId(): string {
  const time = Date.now().toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${crypto.randomUUID().slice(15)}`
}
