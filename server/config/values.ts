import { z } from 'zod'
import { BadConnectionString } from '../../db/connection/connection-string.ts'
import { targetOf } from '../../db/connection/target.ts'

export const day = 24 * 3600

export const flag = <const T extends string>(...values: [T, ...T[]]) => z.enum(values)

/** Whole seconds in the environment, milliseconds in `Config`. */
export const seconds = (min: number, max: number, example: number) =>
  wholeNumber(min, max, example).transform((value) => value * 1000)

export function wholeNumber(min: number, max: number, example: number) {
  return z
    .string()
    .regex(/^\d+$/, `must be a whole number, such as ${example}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be ${min} to ${max}, such as ${example}`)
}

/** An exact origin: scheme, host and port, and no path. */
export const origin = z
  .string()
  .refine(isOrigin, 'must be an origin without a path, such as https://app.example.com')

/** Of pages that no web server sends: of apps in a web view, of desktop apps and of browser extensions. */
const appOrigin = /^(?:app|capacitor|chrome-extension|ionic|tauri):\/\/[a-z\d._-]+$/

/** The origins of pages. */
export const originList = z
  .string()
  .transform((list) => list.split(',').map((item) => item.trim()))
  .pipe(
    z.array(
      z
        .string()
        .refine(
          (value) => !value.includes('*'),
          'must be exact origins: instead of a wildcard, list each one, such as https://app.example.com',
        )
        .refine(
          (value) => isOrigin(value) || appOrigin.test(value),
          'must be origins without a path, such as https://app.example.com or capacitor://localhost',
        ),
    ),
  )

export const audience = z
  .string()
  .max(255, 'must have at most 255 characters, such as https://api.example.com')

export const audienceList = z
  .string()
  .transform((list) => list.split(',').map((item) => item.trim()))
  .pipe(
    z.array(
      audience.min(
        1,
        'must be a comma-separated list, such as https://orders.example.com,https://api.example.com',
      ),
    ),
  )

export const cidrList = z
  .string()
  .transform((list) => list.split(',').map((item) => item.trim()))
  .pipe(
    z.array(
      z.union(
        [z.cidrv4(), z.cidrv6()],
        'must be a comma-separated list of networks, such as 10.0.0.0/8,fd00::/8',
      ),
    ),
  )
  .refine(
    (list) => !list.some(isMostOfTheInternet),
    'is so wide that callers could choose their own address; name the networks of the proxies, such as 10.0.0.0/8,fd00::/8',
  )

/** Wider than the largest private networks, 10.0.0.0/8 and fc00::/7. */
function isMostOfTheInternet(cidr: string): boolean {
  const [address = '', length = ''] = cidr.split('/')
  if (!address.includes(':')) return Number(length) < 8
  // An IPv4 network in the notation of IPv6.
  const isMapped = new URL(`http://[${address}]`).hostname.startsWith('[::ffff:')
  return Number(length) < (isMapped ? 96 + 8 : 7)
}

export const secret = z
  .string()
  .refine((value) => Buffer.byteLength(value) >= 32, secretAdvice('must have at least 32 bytes'))
  .refine(
    (value) => new Set(value).size >= 10,
    secretAdvice('must have at least 10 different characters'),
  )
  .refine(
    (value) =>
      !/change[-_ ]?me|example|sample|placeholder|your[-_ ]?secret|0123456789|abcdefgh/i.test(
        value,
      ),
    secretAdvice('looks like a sample value'),
  )

export function secretAdvice(problem: string): string {
  return `${problem}; make one with: openssl rand -base64 48`
}

/** @see docs/reference/connection-strings.md */
export const postgresUrl = z.string().superRefine((value, ctx) => {
  try {
    targetOf(value)
  } catch (error) {
    if (!(error instanceof BadConnectionString)) throw error
    ctx.addIssue({ code: 'custom', message: error.message })
  }
})

/** On other systems a Windows path would be a single file name with backslashes in it. */
export function isPath(value: string): boolean {
  return process.platform === 'win32' || !value.includes('\\')
}

function isOrigin(value: string): boolean {
  return URL.canParse(value) && /^https?:/.test(value) && new URL(value).origin === value
}

export function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    /^127\.\d+\.\d+\.\d+$/.test(hostname) ||
    /^\[?::1\]?$/.test(hostname)
  )
}

export function isHost(value: string): boolean {
  return URL.canParse(`http://${bracketed(value)}`) && !/[/?#@\\]|:\d*$/.test(bracketed(value))
}

export function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

/** Where a service of others is asked: https, or http on this host. */
export const webAddress = z
  .string()
  .refine(isWebAddress, 'must be an https address, such as https://witness.example.com')

function isWebAddress(value: string): boolean {
  if (!URL.canParse(value)) return false
  const { protocol, hostname, search, hash } = new URL(value)
  const isLocal = protocol === 'http:' && /^(localhost|127\.0\.0\.1|\[::1\])$/.test(hostname)
  return (protocol === 'https:' || isLocal) && search === '' && hash === ''
}

/** The verifier key of a witness (C2SP tlog-cosignature), whose type is the byte 4: `BA` in base64. */
export const witnessKey = z
  .string()
  .regex(
    /^[^+\s]+\+[0-9a-f]{8}\+B[A-P][A-Za-z0-9+/]{42}$/,
    'must be the verifier key of a witness, such as witness.example.com+00000000+B…',
  )
