import type { JWTVerifyGetKey } from 'jose'
import { clockToleranceSeconds } from './access-token-life.ts'
import {
  type AccessTokenClaims,
  maxTokenLength,
  type Signer,
  type VerifiedToken,
} from './verify-access-token.ts'

/** The tokens of 20,000 callers take about 13 MB. */
export const defaultMaxTokens = 20_000

export type CacheStats = {
  /** Tokens that are kept now. */
  readonly size: number
  /** Checks that were answered from the cache, since the start. */
  readonly hits: number
  /** Checks that were made in full, whatever came out. */
  readonly misses: number
}

/** The access tokens that passed the full check of one verifier lately, and no others. */
export type VerifiedTokens = {
  /** @returns null for a token that has to be checked in full */
  find(token: string): Promise<AccessTokenClaims | null>
  add(token: string, verified: VerifiedToken): void
  stats(): CacheStats
}

export type VerifiedTokensOptions = {
  /** 0 keeps none. */
  readonly max: number
  /** The source of the keys that the full check uses. */
  readonly keySource: JWTVerifyGetKey
  /** The clock of the full check, in epoch milliseconds. */
  readonly now: () => number
}

type Entry = VerifiedToken & { readonly verifiedAt: number }

/**
 * Answers what can change after the check anew at each hit: whether the token has expired, and whether its key is the
 * one that the source gives now. A withdrawn key is a miss, and so are keys that are too old to be used. Whether the
 * session has ended is for the caller to ask, as after a full check.
 *
 * The tokens are in two halves. When the young half is full, the old one is dropped as a whole and the young one takes
 * its place. A token that is used moves to the young half, so others drop out first.
 */
export function createVerifiedTokens(options: VerifiedTokensOptions): VerifiedTokens {
  const { max, keySource, now } = options
  let young = new Map<string, Entry>()
  let old = new Map<string, Entry>()
  let hits = 0
  let misses = 0

  function keep(name: string, entry: Entry): void {
    if (young.size >= Math.floor(max / 2)) {
      old = young
      young = new Map()
    }
    young.set(name, entry)
  }

  function entryOf(token: string): Entry | null {
    if (young.size + old.size === 0 || token.length > maxTokenLength) return null
    const name = nameOf(token)
    const found = young.get(name)
    if (found !== undefined) return found
    const older = old.get(name)
    if (older === undefined) return null
    old.delete(name)
    keep(name, older)
    return older
  }

  /** Before `verifiedAt` only if the clock was set back: the token may not be valid yet then. */
  function isInTime({ claims, verifiedAt }: Entry): boolean {
    const at = now()
    return at >= verifiedAt && at < claims.expiresAt + clockToleranceSeconds * 1000
  }

  async function isKeyInUse({ header, key }: Signer): Promise<boolean> {
    try {
      return (await keySource(header, noToken)) === key
    } catch {
      // The full check asks again, and reports what is wrong.
      return false
    }
  }

  return {
    async find(token) {
      const entry = entryOf(token)
      if (entry !== null && isInTime(entry) && (await isKeyInUse(entry.signer))) {
        hits += 1
        return entry.claims
      }
      misses += 1
      return null
    },
    add(token, { claims, signer }) {
      if (max >= 2) keep(nameOf(token), { claims, signer, verifiedAt: now() })
    },
    stats: () => ({ size: young.size + old.size, hits, misses }),
  }
}

/** Keys are found by the header alone. */
const noToken = { payload: '', signature: '' }

type Hash = (algorithm: 'sha256', data: string, encoding: 'base64') => string
type Builtins = { getBuiltinModule?(id: 'node:crypto'): { hash?: Hash } | undefined }

/**
 * What a token is kept under. Where the platform has a SHA-256 that answers at once, as Node does, it is that: an entry
 * is half as large then, and no token stays in memory. Elsewhere it is the whole text, which is as safe. WebCrypto's
 * digest takes ten times as long, because another thread makes it. A part of the text would confuse tokens.
 */
const { process } = globalThis as { process?: Builtins }
const hash = process?.getBuiltinModule?.('node:crypto')?.hash
const nameOf: (token: string) => string =
  hash === undefined ? (token) => token : (token) => hash('sha256', token, 'base64')
