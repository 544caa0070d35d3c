import { dev } from '$app/environment'
import { env } from '$env/dynamic/private'
import { serverSession } from '@token-ledger/client/server'

export const authUrl = env.AUTH_URL ?? 'http://localhost:3000'

if (env.SESSION_SECRET === undefined) throw new Error('Set SESSION_SECRET: openssl rand -base64 32')

export const session = serverSession({
  baseUrl: authUrl,
  cookie: { secret: env.SESSION_SECRET, secure: !dev },
  // From a header that your own proxy sets, and visitors cannot.
  addressOf: ({ headers }) => headers.get('x-real-ip'),
})
