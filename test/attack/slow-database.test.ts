import { expect, test } from 'vitest'
import { attackedServer } from '../support/attacked-server.ts'
import { makeUser, testPassword } from '../support/users.ts'

const attacked = attackedServer({}, { mayShed: true })

test(
  'HT-12 (ASVS 13.2.6): while the database makes sign-ins wait, they are answered 503, other calls go on, and the service recovers',
  { timeout: 90_000 },
  async () => {
    const { email } = await makeUser(attacked.owner.url)
    const login = () =>
      attacked.request('/auth/login', {
        json: { email, password: testPassword, transport: 'body' },
      })
    const session = await login()
    const headers = { authorization: `Bearer ${session.body.result.data.accessToken}` }

    await attacked.sql.begin(async (tx) => {
      await tx`lock table token_ledger.user_account in access exclusive mode`
      const waiting = Promise.all([login(), login(), login()])
      for (const path of ['/healthz', '/.well-known/jwks.json', '/trpc/me'])
        expect((await attacked.request(path, { method: 'GET', headers })).status).toBe(200)
      for (const { status, reason, headers: told } of await waiting)
        expect([status, reason, told['retry-after']]).toEqual([503, 'service_unavailable', '1'])
    })
    expect((await login()).status).toBe(200)
  },
)
