import type { IncomingMessage, ServerResponse } from 'node:http'
import helmet from 'helmet'
import { expect, test } from 'vitest'
import { hardeningHeaders } from '../../server/http/hardening.ts'

test('the hardening headers are helmet’s, with a policy that allows nothing, and no cache', () => {
  const headers: Record<string, string> = {}
  const answer = {
    setHeader: (name: string, value: string) => (headers[name.toLowerCase()] = value),
    removeHeader: () => {},
  }
  const directives = {
    'default-src': ["'none'"],
    'base-uri': ["'none'"],
    'form-action': ["'none'"],
    'frame-ancestors': ["'none'"],
  }
  helmet({ contentSecurityPolicy: { useDefaults: false, directives } })(
    {} as IncomingMessage,
    answer as unknown as ServerResponse,
    (error) => expect(error).toBeUndefined(),
  )
  expect(hardeningHeaders).toEqual({ ...headers, 'cache-control': 'no-store' })
})
