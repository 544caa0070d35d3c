import { expect, test } from 'vitest'
import type { UserDirectory } from '../../server/index.ts'
import { createVerifier } from '../../server/verifier/index.ts'
import { startApp } from '../support/app.ts'
import { auth, query } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'

const id = '0198c0de-0000-4000-8000-000000000001'
const orders = 'https://orders.example.com'

test.each([
  ['true where it says so', true, true],
  ['false where it says so', false, false],
  ['false where it says nothing', undefined, false],
])(
  "AT-18: email_verified is what a team's own directory says, at sign-in, refresh and exchange: %s",
  async (_name, emailVerified, expected) => {
    const user = { id, email: 'ada@example.com', role: 'user', disabled: false } as const
    const known = emailVerified === undefined ? user : { ...user, emailVerified }
    const users: UserDirectory = {
      findByEmail: async () => known,
      findMany: async () => new Map([[id, known]]),
      checkPassword: async (found) => found !== null,
    }
    await using app = await startApp({ ACCESS_TOKEN_AUDIENCES: orders }, { users })
    const { accessToken, refreshToken } = await signIn(app, user.email)
    const refreshed = await auth(app.url, 'refresh', { refreshToken })
    const exchanged = await query(app.url, 'tokens.exchange', accessToken, { audience: orders })
    for (const [audience, token] of [
      [app.url, accessToken],
      [app.url, refreshed.data.accessToken],
      [orders, exchanged.data.accessToken],
    ]) {
      const claims = await createVerifier({ issuer: app.url, audience }).verify(token)
      expect(claims).toMatchObject({ userId: id, email: user.email, emailVerified: expected })
    }
  },
)
