import { uuidOf } from '../uuid.ts'

/**
 * Small values that tabs share and that outlive the page: attempt ids, noted sign-outs and the id of the session, never
 * tokens. Where the browser forbids storage, they last as long as the page.
 */
export type Notes = {
  get(name: string): string | null
  set(name: string, value: string): void
  remove(name: string): void
}

/** Where notes are kept. It throws where the browser forbids it. */
type Place = Notes

/**
 * @param owner Separates the notes of one service from those of others.
 * @param site The domain whose apps share the notes; those of one origin share them without it.
 */
export function openNotes(owner: string, site?: string): Notes {
  const here = new Map<string, string>()
  const place = site === undefined ? originStorage : siteCookies(site)
  const keyOf = (name: string) => `token-ledger ${owner} ${name}`
  return {
    get: (name) => here.get(name) ?? tried(() => place.get(keyOf(name))) ?? null,
    set: (name, value) => {
      const isKept = tried(() => {
        place.set(keyOf(name), value)
        return place.get(keyOf(name)) === value
      })
      if (isKept !== true) here.set(name, value)
    },
    remove: (name) => {
      here.delete(name)
      tried(() => place.remove(keyOf(name)))
    },
  }
}

function tried<T>(use: () => T): T | undefined {
  try {
    return use()
  } catch {
    return undefined
  }
}

const originStorage: Place = {
  get: (key) => localStorage.getItem(key),
  set: (key, value) => localStorage.setItem(key, value),
  remove: (key) => localStorage.removeItem(key),
}

/** The longest that browsers keep a cookie: 400 days. */
const maxAgeSeconds = 400 * 24 * 3600

/** Cookies that scripts of every host of the domain read and write. */
function siteCookies(domain: string): Place {
  const write = (key: string, value: string, seconds: number) => {
    const secure = location.protocol === 'https:' ? '; Secure' : ''
    const attributes = `Domain=${domain}; Path=/; Max-Age=${seconds}; SameSite=Strict${secure}`
    document.cookie = `${encodeURIComponent(key)}=${encodeURIComponent(value)}; ${attributes}`
  }
  return {
    get(key) {
      const before = `${encodeURIComponent(key)}=`
      const found = document.cookie.split('; ').find((pair) => pair.startsWith(before))
      return found === undefined ? null : decodeURIComponent(found.slice(before.length))
    },
    set: (key, value) => write(key, value, maxAgeSeconds),
    remove: (key) => write(key, '', 0),
  }
}

/** RFC 9562 version 4; `crypto.randomUUID` is missing on pages without https. */
export function newAttemptId(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID()
  return uuidOf(crypto.getRandomValues(new Uint8Array(16)), 4)
}
