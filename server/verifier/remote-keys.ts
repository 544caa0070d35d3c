import { createRemoteJWKSet, customFetch, jwksCache } from 'jose'
import type { FetchImplementation, JWKSCacheInput, JWTVerifyGetKey } from 'jose'

export type RemoteKeysTiming = {
  readonly refreshMs: number
  readonly retentionMs: number
  readonly cooldownMs: number
  readonly spacingMs: number
  readonly timeoutMs: number
}

export const remoteKeysTiming: RemoteKeysTiming = {
  /** A withdrawn key is dropped this long after the last fetch, at the next call. */
  refreshMs: 5 * 60 * 1000,
  /**
   * How long known keys serve while the set cannot be fetched. Access tokens are dead after 15½ minutes,
   * so keeping keys past refresh + 15 minutes would serve nobody.
   */
  retentionMs: 20 * 60 * 1000,
  /** After a fetch, tokens with an unknown `kid` cause no other one for this long. */
  cooldownMs: 30 * 1000,
  /** While fetching fails, it is tried once in this time, however many calls arrive. */
  spacingMs: 5 * 1000,
  /** Shorter than the spacing, so that callers are not held by one attempt after the other. */
  timeoutMs: 3 * 1000,
}

/**
 * The keys published at `url`, fetched when first needed. A known `kid` never waits for the network: its
 * set is refreshed behind its back.
 */
export function remoteKeys(url: URL, timing: RemoteKeysTiming = remoteKeysTiming): JWTVerifyGetKey {
  const cache: JWKSCacheInput = {}
  let attemptedAt = Number.NEGATIVE_INFINITY

  const spacedFetch: FetchImplementation = async (href, options) => {
    const now = performance.now()
    if (now - attemptedAt < timing.spacingMs) throw new Error('the last attempt was moments ago')
    attemptedAt = now
    return fetch(href, options)
  }

  const remote = createRemoteJWKSet(url, {
    timeoutDuration: timing.timeoutMs,
    cooldownDuration: timing.cooldownMs,
    cacheMaxAge: timing.retentionMs,
    [customFetch]: spacedFetch,
    [jwksCache]: cache,
  })

  return (header, jws) => {
    if (cache.uat !== undefined && Date.now() - cache.uat > timing.refreshMs) {
      // A failed refresh is no news: it is tried again, and told once the keys are too old to serve.
      remote.reload().catch(() => {})
    }
    return remote(header, jws)
  }
}
