import { createTRPCClient } from '@trpc/client'
import { expect, test } from 'vitest'
import { createAuthClient, type Session } from '../../client/index.ts'
import { authLink, type AppRouter } from '../../client/trpc.ts'
import { startApp } from '../support/app.ts'
import { makeUser, testPassword } from '../support/users.ts'

test('a tool signs in, calls, refreshes and signs out', async () => {
  await using app = await startApp()
  const { email, id } = await makeUser(app.owner.url)
  const auth = createAuthClient({ baseUrl: app.url, transport: 'body' })
  const statuses: Session['status'][] = []
  auth.subscribe((session) => statuses.push(session.status))
  const signedIn = await auth.login({ email, password: testPassword, deviceName: 'a test' })
  expect(signedIn.user).toEqual({ id, email, role: 'user' })

  const trpc = createTRPCClient<AppRouter>({ links: [authLink(auth)] })
  const [me, list] = await Promise.all([trpc.me.query(), trpc.sessions.list.query()])
  expect(me.user.email).toBe(email)
  expect(list.items).toMatchObject([{ familyId: signedIn.familyId, deviceName: 'a test' }])

  const before = await auth.getAccessToken()
  await Promise.all([auth.refresh(), auth.refresh(), auth.refresh()])
  expect(await auth.getAccessToken()).not.toBe(before)
  expect(await auth.logout()).toEqual({ isConfirmed: true, revoked: 1 })
  expect(auth.session).toEqual({ status: 'signed-out', reason: 'logout', incidentId: null })
  expect(await auth.getAccessToken()).toBeNull()
  expect([...new Set(statuses)]).toEqual(['unknown', 'signed-in', 'signed-out'])

  const kinds = await app.owner.ownerSql`select kind from token_audit.events order by seq`
  expect(kinds.map((row) => row.kind)).toEqual(['issued', 'rotated', 'revoked'])
  auth.dispose()
})
