import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Statements } from '../../db/connection/connect.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { auth, mutate, query } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'

let app: TestApp
beforeAll(async () => {
  app = await startApp()
})
afterAll(() => app[Symbol.asyncDispose]())

let gates = 0

/** Takes every connection of the pools for callers, and as many more statements as asked for wait for them. */
async function takeAll(pools: readonly Statements[], waiting = 0): Promise<AsyncDisposable> {
  const gate = ++gates
  const holder = await app.owner.ownerSql.reserve()
  await holder`select pg_advisory_lock(${gate})`
  const taken = pools.flatMap(({ statements }) =>
    Array.from({ length: 2 + waiting }, () =>
      statements`select pg_advisory_xact_lock_shared(${gate})`.catch(() => {}),
    ),
  )
  return {
    async [Symbol.asyncDispose]() {
      await holder`select pg_advisory_unlock(${gate})`
      holder.release()
      await Promise.all(taken)
    },
  }
}

test('lists and questions of admins cannot keep anyone from registering, signing in, refreshing or signing out', async () => {
  const { email, refreshToken } = await signIn(app)
  const { calls, questions } = app.database
  await using _ = await takeAll([calls, questions])
  const again = await signIn(app, email)
  const { data } = await auth(app.url, 'refresh', { refreshToken })
  const out = await auth(app.url, 'logout', { refreshToken: data.refreshToken })
  expect(out.data).toEqual({ success: true, revoked: 1 })
  const everywhere = { refreshToken: again.refreshToken, everywhere: true }
  expect((await auth(app.url, 'logout', everywhere)).data).toEqual({ success: true, revoked: 1 })
  const credentials = { email: 'new@example.com', password: 'words that are long enough' }
  expect((await auth(app.url, 'register', credentials)).status).toBe(200)
})

test('questions of admins cannot keep users from their own sessions, and `me` needs no connection', async () => {
  const { accessToken } = await signIn(app)
  await using _ = await takeAll([app.database.questions])
  expect((await query(app.url, 'sessions.list', accessToken)).status).toBe(200)
  expect((await mutate(app.url, 'sessions.revokeOthers', accessToken)).status).toBe(200)
  await using __ = await takeAll([app.database.calls])
  expect((await query(app.url, 'me', accessToken)).status).toBe(200)
})

test('a call that finds 300 others waiting for a connection is refused at once, with Retry-After', async () => {
  const { accessToken } = await signIn(app)
  const admin = await signIn(app, (await makeUser(app.owner.url, undefined, 'admin')).email)
  const { calls } = app.database
  await using _ = await takeAll([calls], 300)
  for (const [path, token] of [
    ['sessions.list', accessToken],
    ['admin.users.list', admin.accessToken],
  ] as const) {
    const { status, reason, headers } = await query(app.url, path, token)
    expect([status, reason, headers.get('retry-after')]).toEqual([503, 'service_unavailable', '1'])
  }
})

test('a question of an admin is given three seconds', async () => {
  const { accessToken } = await signIn(
    app,
    (await makeUser(app.owner.url, undefined, 'admin')).email,
  )
  const holder = await app.owner.ownerSql.reserve()
  await holder`begin`
  await holder`lock table token_ledger.token_event in access exclusive mode`
  try {
    const startedAt = performance.now()
    const { statements } = app.database.questions
    await expect(statements`select from token_ledger.token_event`).rejects.toMatchObject({
      code: '57014',
    })
    expect(performance.now() - startedAt).toBeLessThan(5_000)
    const listed = await query(app.url, 'admin.users.list', accessToken)
    expect([listed.status, listed.headers.get('retry-after')]).toEqual([503, '1'])
  } finally {
    await holder`rollback`
    holder.release()
  }
})
