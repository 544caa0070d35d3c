/**
 * Headers of every answer (OWASP ASVS 5.0, 3.4 and 14.3.2): caches do not keep it, and browsers neither
 * render nor run it.
 *
 * A literal table, because the headers are the same for every answer. A test compares it with helmet's.
 */
export const hardeningHeaders = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'origin-agent-cluster': '?1',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'x-dns-prefetch-control': 'off',
  'x-download-options': 'noopen',
  'x-frame-options': 'SAMEORIGIN',
  'x-permitted-cross-domain-policies': 'none',
  'x-xss-protection': '0',
} as const
