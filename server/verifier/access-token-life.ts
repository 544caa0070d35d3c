/**
 * The longest an access token may live. The service never issues one that lives longer, and a verifier
 * refuses one that does. Everything that depends on this limit reads it here, in the service too.
 */
export const maxAccessTokenSeconds = 15 * 60

/** How far a verifier's clock may differ from the service's. */
export const clockToleranceSeconds = 30

/**
 * After this long, no access token that was issued before is valid any more: its longest life, the tolerated
 * difference of the clocks, and a minute of margin.
 */
export const accessTokenRetentionMs = (maxAccessTokenSeconds + clockToleranceSeconds + 60) * 1000
