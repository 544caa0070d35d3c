import { expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { auth, mutate, query } from '../support/http.ts'
import {
  besides,
  endOf,
  firstEvents,
  readStream,
  readTail,
  waitForLiveTail,
  waitForOpenTails,
} from '../support/tail.ts'
import { makeUser, testPassword } from '../support/users.ts'

async function signIn(app: TestApp, role: 'user' | 'admin' = 'user') {
  const user = await makeUser(app.owner.url, undefined, role)
  const input = { email: user.email, password: testPassword, transport: 'body' }
  const { data } = await auth(app.url, 'login', input)
  return { userId: user.id, ...data } as {
    userId: string
    accessToken: string
    refreshToken: string
    familyId: string
  }
}

test('the tail shows each new event, and continues where it was after a reconnect', async () => {
  await using app = await startApp()
  const admin = await signIn(app, 'admin')
  // The admin's own sign-in may come first: a transaction of any database can hold back what the tail has not shown.
  const live = firstEvents(besides(readTail(app.url, admin.accessToken), admin.familyId), 2)
  await waitForLiveTail(app.owner)
  let { refreshToken, familyId } = await signIn(app)
  const refresh = async () =>
    (refreshToken = (await auth(app.url, 'refresh', { refreshToken })).data.refreshToken)
  await refresh()
  const seen = await live
  expect(seen.map(({ data }) => [data.familyId, data.seq, data.kind])).toEqual([
    [familyId, 1, 'issued'],
    [familyId, 2, 'rotated'],
  ])
  expect(seen.map(({ id }) => id)).toEqual(seen.map(({ data }) => data.position))

  await refresh()
  await refresh()
  const after = seen[1]!.id!
  const more = await firstEvents(readTail(app.url, admin.accessToken, { after }), 2)
  expect(more.map(({ data }) => data.seq)).toEqual([3, 4])

  const { data } = await query(app.url, 'admin.ledger.events', admin.accessToken, { limit: 2 })
  const fromList = data.items[1].position
  const [last] = await firstEvents(readTail(app.url, admin.accessToken, { after: fromList }), 1)
  expect(last!.data.seq).toBe(4)
})

test('a tail with a filter shows what matches it, also what came before a reconnect and its first event', async () => {
  await using app = await startApp()
  const admin = await signIn(app, 'admin')
  const asked = await query(app.url, 'admin.ledger.position', admin.accessToken)
  const after = asked.data.position
  const [one, other] = [await signIn(app), await signIn(app)]
  for (const { refreshToken } of [one, other, one]) await auth(app.url, 'refresh', { refreshToken })
  const seen = async (input: object, count: number) => {
    const { accessToken } = admin
    const path = 'admin.ledger.tail'
    const tail = readStream(app.url, { path, accessToken, input: { after, ...input } })
    return (await firstEvents(tail, count)).map((message) => [
      message.data.familyId,
      message.data.kind,
    ])
  }
  expect(await seen({ kinds: ['rotated'] }, 2)).toEqual([
    [one.familyId, 'rotated'],
    [other.familyId, 'rotated'],
  ])
  const ofOther = [
    [other.familyId, 'issued'],
    [other.familyId, 'rotated'],
  ]
  expect(await seen({ familyId: other.familyId }, 2)).toEqual(ofOther)
  expect(await seen({ userId: other.userId }, 2)).toEqual(ofOther)
})

test('TR-09: the tail ends with the access token and gives the reason', async () => {
  await using app = await startApp({ ACCESS_TOKEN_SECONDS: '2' })
  const { accessToken } = await signIn(app, 'admin')
  expect(await endOf(readTail(app.url, accessToken))).toBe('access_token_expired')
})

test('TR-09: an open tail ends when the session is revoked or the admin is demoted', async () => {
  await using app = await startApp()
  const admin = await signIn(app, 'admin')
  const revoked = await signIn(app, 'admin')
  const demoted = await signIn(app, 'admin')
  const ends = [revoked, demoted].map(({ accessToken }) => endOf(readTail(app.url, accessToken)))
  await waitForOpenTails(app.url, 2)
  const { accessToken } = admin
  const { familyId } = revoked
  await mutate(app.url, 'admin.sessions.revoke', accessToken, { familyId, reason: 'test' })
  await mutate(app.url, 'admin.users.setRole', accessToken, {
    userId: demoted.userId,
    role: 'user',
  })
  expect(await Promise.all(ends)).toEqual(['access_token_revoked', 'role_required'])
})

test('TR-06: a caller who is not an admin gets no tail', async () => {
  await using app = await startApp()
  const { accessToken } = await signIn(app)
  expect(await endOf(readTail(app.url, accessToken))).toBe('role_required')
  expect(await endOf(readTail(app.url, 'nonsense'))).toBe('access_token_invalid')
})

test('TR-09: a user may have five tails; closing one makes room', async () => {
  await using app = await startApp()
  const { accessToken } = await signIn(app, 'admin')
  const leave = new AbortController()
  const open = Array.from({ length: 5 }, () =>
    endOf(readTail(app.url, accessToken, { signal: leave.signal })).catch(() => 'left'),
  )
  await waitForOpenTails(app.url, 5)
  expect(await endOf(readTail(app.url, accessToken))).toBe('too_many_attempts')
  leave.abort()
  expect(await Promise.all(open)).toEqual(Array(5).fill('left'))
  await waitForOpenTails(app.url, 0)
  const again = new AbortController()
  const reopened = endOf(readTail(app.url, accessToken, { signal: again.signal })).catch(
    () => 'left',
  )
  await waitForOpenTails(app.url, 1)
  again.abort()
  expect(await reopened).toBe('left')
})

test('a service that closes ends its tails', async () => {
  const app = await startApp()
  const { accessToken } = await signIn(app, 'admin')
  const end = endOf(readTail(app.url, accessToken))
  await waitForOpenTails(app.url, 1)
  const began = performance.now()
  await app[Symbol.asyncDispose]()
  expect(await end).toBeNull()
  expect(performance.now() - began).toBeLessThan(5_000)
})
