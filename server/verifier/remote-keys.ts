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
  /** The first call this long after the last fetch fetches again. A withdrawn key is dropped then. */
  refreshMs: 5 * 60 * 1000,
  /**
   * How long known keys are used while fetching fails. An access token is accepted for 15½ minutes at most,
   * so keys that are kept much longer would verify no token any more.
   */
  retentionMs: 20 * 60 * 1000,
  /** For this long after a fetch, tokens with an unknown `kid` cause no further fetch. */
  cooldownMs: 30 * 1000,
  /** While fetching fails, it is tried at most once in this time, however many calls arrive. */
  spacingMs: 5 * 1000,
  /** Shorter than the spacing, so that a call waits for one attempt at most. */
  timeoutMs: 3 * 1000,
}

/**
 * The keys published at `url`, fetched when first needed. A token with a known `kid` never waits for the
 * network: the keys are refreshed in the background.
 */
export function remoteKeys(url: URL, timing: RemoteKeysTiming = remoteKeysTiming): JWTVerifyGetKey {
  const cache: JWKSCacheInput = {}
  let attemptedAt = Number.NEGATIVE_INFINITY

  const spacedFetch: FetchImplementation = async (href, options) => {
    const now = performance.now()
    if (now - attemptedAt < timing.spacingMs)
      throw new Error('the keys could not be fetched a moment ago, and are not fetched again yet')
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
      // A failed refresh is tried again. It becomes an error only when the keys are too old to be used.
      remote.reload().catch(() => {})
    }
    return remote(header, jws)
  }
}
