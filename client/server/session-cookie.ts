import type { Grant } from '../auth-api.ts'
import { AuthClientError } from '../errors.ts'
import type { Incoming, ServerSessionOptions } from './public-types.ts'
import { createSeal } from './seal.ts'

/** What the cookie holds, encrypted. */
export type Held = Pick<Grant, 'user' | 'accessToken' | 'familyId' | 'refreshExpiresAt'> & {
  readonly refreshToken: string
  /** Epoch ms, by the clock of the app's server. */
  readonly accessTokenExpiresAt: number
  readonly accessTokenLifetimeMs: number
}

export type Found = { readonly held: Held; readonly attemptId: string }

/** Browsers drop a cookie whose name and value are longer (RFC 6265bis §5.6). */
const maxCookieBytes = 4096
const minSecretLength = 32
/** Each costs a decryption. A browser sends several of one name only if another host of the site set them. */
const maxCookies = 4

/** @throws {TypeError} for a secret that is too short, or a name that `secure: false` forbids */
export function sessionCookie({ baseUrl, cookie }: ServerSessionOptions) {
  const { secure = true } = cookie
  const name = cookie.name ?? (secure ? '__Host-session' : 'session')
  if (!/^[\w-]+$/.test(name)) throw new TypeError(`cookie.name: letters, digits, - and _ only`)
  if (!secure && name.startsWith('__'))
    throw new TypeError(`cookie.name: ${name} needs secure cookies; choose another name`)
  const secrets = [cookie.secret].flat()
  if (secrets.some((secret) => secret.length < minSecretLength))
    throw new TypeError(`cookie.secret: at least ${minSecretLength} random characters`)
  const seals = secrets.map((secret) => createSeal(secret, `${name} ${baseUrl}`))
  const [newest] = seals
  if (newest === undefined) throw new TypeError('cookie.secret: give one')
  const attributes = `Path=/; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`

  async function open(value: string): Promise<Found | null> {
    if (value.length > maxCookieBytes) return null
    for (const seal of seals) {
      const text = await seal.open(value)
      if (text === null) continue
      const held = JSON.parse(text) as Held
      // With the secret that sealed it: processes that know different secrets make the same attempt.
      return { held, attemptId: await seal.attemptIdOf(held.refreshToken) }
    }
    return null
  }

  return {
    /** @returns null for a request without a cookie that one of the secrets opens */
    async read(request: Incoming): Promise<Found | null> {
      for (const value of valuesOf(request, name).slice(0, maxCookies)) {
        const found = await open(value)
        if (found !== null) return found
      }
      return null
    },

    /** @throws {RangeError} when browsers would drop the cookie */
    async write(held: Held, request: Incoming) {
      const value = await newest.seal(JSON.stringify(held))
      if (name.length + value.length > maxCookieBytes)
        throw new RangeError(`The session does not fit into a cookie of ${maxCookieBytes} bytes.`)
      const leftSeconds = Math.floor((Date.parse(held.refreshExpiresAt) - Date.now()) / 1000)
      return {
        setCookies: [`${name}=${value}; ${attributes}; Max-Age=${Math.max(0, leftSeconds)}`],
        cookieHeader: [...othersIn(request, name), `${name}=${value}`].join('; '),
      }
    },

    clear: (request: Incoming) => ({
      setCookies: [`${name}=; ${attributes}; Max-Age=0`],
      cookieHeader: othersIn(request, name).join('; '),
    }),

    leave: (request: Incoming) => ({
      setCookies: [],
      cookieHeader: request.headers.get('cookie') ?? '',
    }),
  }
}

/** @param startedAt When the request for it was sent, so that the access token never seems younger than it is. */
export function heldOf(grant: Grant, startedAt: number): Held {
  const { refreshToken, accessToken, expiresIn, familyId, refreshExpiresAt, user } = grant
  if (refreshToken === undefined) throw new AuthClientError('unreadable_answer')
  const accessTokenLifetimeMs = expiresIn * 1000
  const accessTokenExpiresAt = startedAt + accessTokenLifetimeMs
  const token = { accessToken, accessTokenExpiresAt, accessTokenLifetimeMs }
  return { refreshToken, ...token, familyId, refreshExpiresAt, user }
}

/** Whether so little of the access token's life is left that it should be renewed. */
export function isDue({ accessTokenExpiresAt, accessTokenLifetimeMs }: Held): boolean {
  return accessTokenExpiresAt - Date.now() < accessTokenLifetimeMs / 4
}

function pairsIn(request: Incoming): string[] {
  const header = request.headers.get('cookie') ?? ''
  return header.split(';').flatMap((pair) => pair.trim() || [])
}

function valuesOf(request: Incoming, name: string): string[] {
  return pairsIn(request)
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1))
}

function othersIn(request: Incoming, name: string): string[] {
  return pairsIn(request).filter((pair) => !pair.startsWith(`${name}=`))
}
