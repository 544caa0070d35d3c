/** As in React Native 0.79: it joins texts, adds a slash, and has no `origin`. */
export class PartialUrl {
  readonly href: string
  constructor(url: string, base?: string | PartialUrl) {
    const absolute = /^[a-z]+:\/\//.test(url) || base === undefined
    const joined = absolute ? url : `${String(base).replace(/\/$/, '')}/${url.replace(/^\//, '')}`
    this.href = joined.endsWith('/') || joined.includes('#') ? joined : `${joined}/`
  }
  get origin(): string {
    throw new Error('URL.origin is not implemented')
  }
  toString(): string {
    return this.href
  }
}
