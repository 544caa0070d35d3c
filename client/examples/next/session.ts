import { serverSession } from '@token-ledger/client/server'

export const authUrl = process.env.AUTH_URL ?? 'http://localhost:3000'

const secret = process.env.SESSION_SECRET
if (secret === undefined) throw new Error('Set SESSION_SECRET: openssl rand -base64 32')

export const session = serverSession({
  baseUrl: authUrl,
  cookie: { secret, secure: process.env.NODE_ENV === 'production' },
  // From a header that your own proxy sets, and visitors cannot.
  addressOf: ({ headers }) => headers.get('x-real-ip'),
})
