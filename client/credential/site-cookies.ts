import type { Place } from './notes.ts'

/** The longest that browsers keep a cookie: 400 days. */
const maxAgeSeconds = 400 * 24 * 3600

/** Cookies that scripts of every host of the domain read and write. */
export function siteCookies(domain: string): Place {
  const write = (key: string, value: string, seconds: number) => {
    const secure = location.protocol === 'https:' ? '; Secure' : ''
    const attributes = `Domain=${domain}; Path=/; Max-Age=${seconds}; SameSite=Strict${secure}`
    document.cookie = `${encodeURIComponent(key)}=${encodeURIComponent(value)}; ${attributes}`
  }
  return {
    getItem: (key) => new URLSearchParams(document.cookie.replaceAll('; ', '&')).get(key),
    setItem: (key, value) => write(key, value, maxAgeSeconds),
    removeItem: (key) => write(key, '', 0),
  }
}
