import { expect, test } from 'vitest'
import { createAuthClient, memoryStorage } from '../../client/index.ts'
import { startApp } from '../support/app.ts'
import { makeUser, testPassword } from '../support/users.ts'

test('a client begins as signed in with the user whom the server has found, and asks the service when it restores', async () => {
  await using app = await startApp()
  const { email, id } = await makeUser(app.owner.url)
  const storage = memoryStorage()
  const first = createAuthClient({ baseUrl: app.url, storage })
  const { familyId } = await first.login({ email, password: testPassword })
  first.dispose()

  const user = { id, email: 'before@example.com', role: 'user' } as const
  const auth = createAuthClient({ baseUrl: app.url, storage, initial: { user } })
  expect(auth.session).toMatchObject({ status: 'signed-in', user, familyId: '' })
  const [restored] = await Promise.all([auth.restore(), auth.restore(), auth.getAccessToken()])
  expect(restored).toMatchObject({ status: 'signed-in', user: { id, email }, familyId })
  expect(auth.initial).toMatchObject({ status: 'signed-in', user })
  await auth.restore()
  auth.dispose()
  const kinds = await app.owner.ownerSql`select kind from token_audit.events order by seq`
  expect(kinds.map((row) => row.kind)).toEqual(['issued', 'rotated'])

  const ended = createAuthClient({ baseUrl: app.url, transport: 'body', initial: { user } })
  expect(await ended.restore()).toMatchObject({ reason: 'refresh_token_missing' })
  expect(await ended.getAccessToken()).toBeNull()
  ended.dispose()
})
