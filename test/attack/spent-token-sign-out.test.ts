import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { auth, query } from '../support/http.ts'
import { kindsOf, signIn, type BodySession } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'

let app: TestApp
let strict: TestApp
beforeAll(async () => {
  app = await startApp()
  strict = await startApp({ REUSE_SCOPE: 'user' })
})
afterAll(async () => {
  await app?.[Symbol.asyncDispose]()
  await strict?.[Symbol.asyncDispose]()
})

/** A session that was refreshed `times` times, with the tokens of all generations. */
async function refreshed(at: TestApp, times: number, email?: string) {
  const session = await signIn(at, email)
  const tokens = [session.refreshToken]
  for (let i = 0; i < times; i++) {
    const { data } = await auth(at.url, 'refresh', { refreshToken: tokens.at(-1) })
    tokens.push(data.refreshToken)
  }
  return { ...session, tokens }
}

function signOut(at: TestApp, refreshToken: string | undefined, everywhere = false) {
  return auth(at.url, 'logout', { refreshToken, everywhere })
}

async function incidentsOf({ owner }: TestApp, userId: string) {
  const rows = await owner.ownerSql<{ presented: number; current: number }[]>`
    select presented_generation as presented, current_generation as current
    from token_audit.reuse_incidents where user_id = ${userId}`
  return [...rows]
}

describe('a sign-out by a token that was spent twice over (RFC 9700 §4.14.2)', () => {
  test('RT-18: it is a reuse of its family, `everywhere` is ignored, and the answer is 200', async () => {
    const { email, userId, familyId, tokens } = await refreshed(app, 5)
    const others: BodySession[] = [await signIn(app, email), await signIn(app, email)]
    const answer = await signOut(app, tokens[0], true)
    expect(answer).toMatchObject({ status: 200, data: { success: true, revoked: 1 } })
    expect(await kindsOf(app, familyId)).toEqual([
      'issued',
      ...Array<string>(5).fill('rotated'),
      'reuse_detected',
    ])
    expect(await incidentsOf(app, userId)).toEqual([{ presented: 0, current: 5 }])
    const owners = await auth(app.url, 'refresh', { refreshToken: tokens[5] })
    expect(owners).toMatchObject({
      reason: 'refresh_token_reused',
      incidentId: `${familyId}:7`,
    })
    for (const { refreshToken } of others)
      expect((await auth(app.url, 'refresh', { refreshToken })).status).toBe(200)
  })

  test('RT-18: with REUSE_SCOPE=user it ends the other sessions as a reuse elsewhere, not as the act of the user', async () => {
    const { email, userId, tokens } = await refreshed(strict, 2)
    const other = await signIn(strict, email)
    expect((await signOut(strict, tokens[0])).data).toEqual({ success: true, revoked: 2 })
    const rows = await strict.owner.ownerSql`
      select reason, actor_user_id from token_audit.events
      where family_id = ${other.familyId} and kind = 'revoked'`
    expect([...rows]).toEqual([{ reason: 'reuse_elsewhere', actor_user_id: null }])
    expect(await incidentsOf(strict, userId)).toHaveLength(1)
  })

  test('RT-18: it is counted as a reuse, as one at a refresh is, and its access token is refused', async () => {
    const { accessToken, tokens } = await refreshed(app, 2)
    const counted = async () => {
      const text = await (await fetch(`${app.url}/metrics`)).text()
      return Number(
        /security_events_total\{event="reuse_detected",reason=""\} (\d+)/.exec(text)?.[1] ?? 0,
      )
    }
    const before = await counted()
    await signOut(app, tokens[0])
    expect(await counted()).toBe(before + 1)
    const list = await query(app.url, 'sessions.list', accessToken)
    expect(list.reason).toBe('access_token_revoked')
    // The family is over: the same token ends and counts nothing more.
    expect((await signOut(app, tokens[0])).data).toEqual({ success: true, revoked: 0 })
    expect(await counted()).toBe(before + 1)
  })
})

test('RT-18: the direct predecessor signs out however late it comes, here and everywhere', async () => {
  const { email } = await makeUser(app.owner.url)
  const first = await refreshed(app, 2, email)
  expect((await signOut(app, first.tokens[1])).data).toEqual({ success: true, revoked: 1 })
  expect(await kindsOf(app, first.familyId)).toEqual(['issued', 'rotated', 'rotated', 'revoked'])
  const second = await refreshed(app, 2, email)
  await signIn(app, email)
  expect((await signOut(app, second.tokens[1], true)).data).toEqual({ success: true, revoked: 2 })
  expect(await incidentsOf(app, first.userId)).toEqual([])
})

test('RT-18: of twenty sign-outs at once with tokens of two ages, one is decided and the others find the end', async () => {
  const { familyId, tokens } = await refreshed(app, 2)
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => signOut(app, tokens[i % 2 === 0 ? 0 : 2])),
  )
  expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
  expect(answers.reduce((sum, { data }) => sum + data.revoked, 0)).toBe(1)
  const kinds = await kindsOf(app, familyId)
  expect(kinds).toHaveLength(4)
  expect(['reuse_detected', 'revoked']).toContain(kinds.at(-1))
})
