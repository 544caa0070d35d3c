/** What every parser of URLs reads alike. */
const plainUrl = /^(https?:\/\/[a-z\d.-]+(?::\d+)?)(?:[/?#]|$)/

/**
 * Resolves a URL. React Native up to 0.79 has a `URL` without `origin`, which also changes paths: there only plain
 * URLs are read, and stay as they are.
 *
 * @throws {TypeError} for an invalid URL
 */
export function locate(url: string, base?: string): { href: string; origin: string } {
  try {
    const { href, origin } = new URL(url, base)
    return { href, origin }
  } catch (error) {
    const href = base !== undefined && url.startsWith('/') ? base + url : url
    const origin = plainUrl.exec(href)?.[1]
    if (origin === undefined) throw error
    return { href, origin }
  }
}

/** @throws {TypeError} for what is not the URL of one origin, and for a path unless `mayHavePath` */
export function originOf(
  option: string,
  url: {
    readonly text: string
    readonly base?: string | undefined
    readonly mayHavePath?: boolean
  },
): string {
  try {
    const { href, origin } = locate(url.text, url.base)
    const isWhole = url.mayHavePath === true || href.replace(/\/$/, '') === origin
    if (isWhole && !origin.includes('*')) return origin
  } catch {
    // Not a URL.
  }
  throw new TypeError(
    `${option}: "${url.text}" has to be one origin without a path or a wildcard, such as "https://auth.example.com".`,
  )
}
