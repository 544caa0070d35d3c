import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { allowService } from '../support/admin.ts'
import { adminEmail, attackedServer } from '../support/attacked-server.ts'
import { callAs, procedures, sampleAudience, type Procedure } from '../support/procedures.ts'
import { signIn, signInWithCookie, type BodySession } from '../support/sessions.ts'
import { testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

const world = attackedServer({ ACCESS_TOKEN_AUDIENCES: sampleAudience }, { mayShed: true })
let admin: BodySession
let token: string

beforeAll(async () => {
  admin = await signIn(world, adminEmail)
  token = admin.accessToken
})

/** An input that would succeed if the service answered without asking the database. */
function inputOf({ url, sample }: Procedure): unknown {
  const { refreshToken, familyId, userId } = admin
  if (url === '/auth/refresh' || url === '/auth/logout') return { refreshToken }
  if (url === '/auth/reauthenticate')
    return { refreshToken, password: testPassword, attemptId: randomUUID() }
  if (url === '/auth/login') return { email: adminEmail, password: testPassword }
  return {
    ...sample,
    ...('familyId' in sample && { familyId }),
    ...('userId' in sample && { userId }),
    ...('at' in sample && { at: new Date().toISOString() }),
    ...('currentPassword' in sample && { currentPassword: testPassword }),
  }
}

/** The service tries to connect at most every half second. */
async function letBack(): Promise<void> {
  await allowService(world.database.url, true)
  await waitFor(async () => (await fetch(`${world.url}/readyz`)).ok)
}

// `me` asks no database while the process follows the ends of sessions, and for some seconds after.
const asking = procedures.filter(({ url }) => url !== '/trpc/me')

describe('FS-01 (ASVS 16.5.2 and 16.5.3): while the database is unavailable, nothing is granted', () => {
  test('every procedure that asks the database answers 503 with Retry-After and changes nothing', async () => {
    await world.unchanged(async () => {
      await allowService(world.database.url, false)
      try {
        for (const procedure of asking) {
          const answer = await callAs(world, procedure, { token, input: inputOf(procedure) })
          expect([procedure.url, answer.reason]).toEqual([procedure.url, 'service_unavailable'])
          // A stream has sent its headers by then.
          if (procedure.type === 'subscription') continue
          expect([procedure.url, answer.status]).toEqual([procedure.url, 503])
          expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
          expect(answer.headers['set-cookie']).toBeUndefined()
        }
      } finally {
        await letBack()
      }
    })
  })

  test('IR-01 (RFC 7009 §2.2.1): a logout that could not end the session is answered 503 and keeps the cookie', async () => {
    const { cookie } = await signInWithCookie(world)
    const logOut = () =>
      world.request('/auth/logout', { headers: { origin: world.url, cookie }, json: {} })
    await allowService(world.database.url, false)
    try {
      const answer = await logOut()
      expect([answer.status, answer.reason]).toEqual([503, 'service_unavailable'])
      expect(answer.headers['set-cookie']).toBeUndefined()
    } finally {
      await letBack()
    }
    expect((await logOut()).body.result.data).toEqual({ success: true, revoked: 1 })
  })

  test('once the database is back, everything works as before', async () => {
    for (const procedure of asking.filter(({ type }) => type === 'query')) {
      const answer = await callAs(world, procedure, { token, input: inputOf(procedure) })
      expect([procedure.url, answer.status]).toEqual([procedure.url, 200])
    }
    const { refreshToken } = admin
    const refreshed = await world.request('/auth/refresh', { json: { refreshToken } })
    expect(refreshed.status).toBe(200)
  })
})
