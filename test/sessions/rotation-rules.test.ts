import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { moveClock, stopClock } from '../support/clock.ts'
import { auth, refreshCookieIn } from '../support/http.ts'
import { fromPage, kindsOf, signIn, signInWithCookie } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'

const day = 24 * 3600 * 1000
const startAt = Date.UTC(2030, 0, 1)

/** The service with its clock stopped at `startAt`; `at(ms)` stops it that much later. */
async function startStopped(env: Record<string, string> = {}) {
  const app = await startApp(env)
  const at = (ms: number) => stopClock(app.owner.ownerSql, startAt + ms)
  await at(0)
  return { app, at, [Symbol.asyncDispose]: () => app[Symbol.asyncDispose]() }
}

function refresh(app: TestApp, refreshToken: string, attemptId?: string) {
  return auth(app.url, 'refresh', { refreshToken, ...(attemptId && { attemptId }) })
}

describe('the grace window', () => {
  test('RT-07, V2 (RFC 9700 §4.14.2): the predecessor gets the same successor until the last millisecond of the grace window', async () => {
    await using stopped = await startStopped()
    const { app, at } = stopped
    const { refreshToken, familyId } = await signIn(app)
    const first = await refresh(app, refreshToken)
    await at(9_999)
    const second = await refresh(app, refreshToken)
    expect(second.data.refreshToken).toBe(first.data.refreshToken)
    expect(second.data.refreshExpiresAt).toBe(first.data.refreshExpiresAt)
    await at(10_000)
    const third = await refresh(app, refreshToken)
    expect(third).toMatchObject({
      status: 401,
      reason: 'refresh_token_reused',
      incidentId: `${familyId}:4`,
    })
    expect(await kindsOf(app, familyId)).toEqual([
      'issued',
      'rotated',
      'replayed',
      'reuse_detected',
    ])
  })

  test('RT-07 (RFC 9700 §4.14.2): a grace window of 0 seconds forgives only the same attempt', async () => {
    await using stopped = await startStopped({ ROTATION_GRACE_SECONDS: '0' })
    const { app } = stopped
    const { refreshToken } = await signIn(app)
    const attemptId = randomUUID()
    const first = await refresh(app, refreshToken, attemptId)
    const again = await refresh(app, refreshToken, attemptId.toUpperCase())
    expect(again.data.refreshToken).toBe(first.data.refreshToken)
    expect((await refresh(app, refreshToken)).reason).toBe('refresh_token_reused')
  })

  test('RT-07, V2 (RFC 9700 §4.14.2): the grace window does not cover the grandparent', async () => {
    await using stopped = await startStopped()
    const { app } = stopped
    const { refreshToken } = await signIn(app)
    const first = await refresh(app, refreshToken)
    await refresh(app, first.data.refreshToken)
    expect((await refresh(app, refreshToken)).reason).toBe('refresh_token_reused')
  })
})

describe('an attempt', () => {
  test('RT-08 (RFC 9700 §4.14.2): an attempt gets its answer again an hour later, so a lost answer costs nothing', async () => {
    await using stopped = await startStopped()
    const { app, at } = stopped
    const { refreshToken, familyId } = await signIn(app)
    const attemptId = randomUUID()
    const first = await refresh(app, refreshToken, attemptId)
    await at(3600 * 1000)
    const again = await refresh(app, refreshToken, attemptId)
    expect(again.data.refreshToken).toBe(first.data.refreshToken)
    expect(await kindsOf(app, familyId)).toEqual(['issued', 'rotated', 'replayed'])
    expect((await refresh(app, refreshToken, randomUUID())).reason).toBe('refresh_token_reused')
  })

  test('an attempt of an older generation is a reuse', async () => {
    await using stopped = await startStopped()
    const { app } = stopped
    const { refreshToken } = await signIn(app)
    const attemptId = randomUUID()
    const first = await refresh(app, refreshToken, attemptId)
    await refresh(app, first.data.refreshToken)
    expect((await refresh(app, refreshToken, attemptId)).reason).toBe('refresh_token_reused')
  })
})

describe('the attempts of a client whose cookie was lost', () => {
  /** Rotates so often, each time by an attempt of its own. */
  async function rotate(app: TestApp, times: number) {
    const { refreshToken, familyId } = await signIn(app)
    const attemptIds: string[] = []
    let newest = refreshToken
    while (attemptIds.length < times) {
      attemptIds.push(randomUUID())
      newest = (await refresh(app, newest, attemptIds.at(-1))).data.refreshToken!
    }
    return { refreshToken, familyId, attemptIds, newest }
  }
  const refreshAfter = (app: TestApp, refreshToken: string, previousAttemptIds: string[]) =>
    auth(app.url, 'refresh', { refreshToken, attemptId: randomUUID(), previousAttemptIds })

  test('RT-08 (RFC 9700 §4.14.2): a token that up to 20 rotations have overtaken gets the current one, an hour later, from a client that names their attempts', async () => {
    await using stopped = await startStopped()
    const { app, at } = stopped
    const clients = await Promise.all([1, 2, 5, 20].map((times) => rotate(app, times)))
    await at(3600 * 1000)
    for (const { refreshToken, familyId, attemptIds, newest } of clients) {
      const upperCase = attemptIds.map((id) => id.toUpperCase())
      const again = await refreshAfter(app, refreshToken, upperCase.toReversed())
      expect(again.data.refreshToken).toBe(newest)
      const [last] = await app.owner.ownerSql`
        select kind, reason, presented_generation, generation from token_ledger.token_event
        where family_id = ${familyId} order by seq desc limit 1`
      expect({ ...last }).toEqual({
        kind: 'replayed',
        reason: 'same_attempt',
        presented_generation: 0,
        generation: attemptIds.length,
      })
      const [verified] = await app.owner.ownerSql`
        select intact from token_audit.verify_family(${familyId})`
      expect({ ...verified }).toEqual({ intact: true })
      expect((await refresh(app, newest)).status).toBe(200)
    }
  })

  test('RT-08 (RFC 9700 §4.14.2): one unknown attempt among them is a reuse, and more than 20 of them are not taken', async () => {
    await using app = await startApp()
    const { refreshToken, attemptIds } = await rotate(app, 5)
    for (const refused of [Array.from({ length: 21 }, () => randomUUID()), ['junk']])
      expect((await refreshAfter(app, refreshToken, refused)).reason).toBe('validation_failed')
    const others = attemptIds.with(2, randomUUID())
    expect((await refreshAfter(app, refreshToken, others)).reason).toBe('refresh_token_reused')
  })
})

describe('expiry', () => {
  test('RT-11 (ASVS 7.3.1): a session expires at the millisecond of its inactivity timeout', async () => {
    await using stopped = await startStopped()
    const { app, at } = stopped
    const [used, left] = [await signIn(app), await signIn(app)]
    await at(7 * day - 1)
    expect((await refresh(app, used.refreshToken)).status).toBe(200)
    await at(7 * day)
    const late = await refresh(app, left.refreshToken)
    expect(late).toMatchObject({ status: 401, reason: 'session_expired', incidentId: undefined })
    expect(await kindsOf(app, left.familyId)).toEqual(['issued'])
  })

  test('RT-10 (ASVS 7.3.2 and 10.4.8, RFC 10017 §6.3.2.3): the absolute expiration is never extended, and the cookie and the answer show it', async () => {
    await using stopped = await startStopped()
    const { app, at } = stopped
    let { cookie } = await signInWithCookie(app)
    for (const days of [6, 12, 18, 24]) {
      await at(days * day)
      const answer = await fromPage(app, 'refresh', cookie)
      cookie = `refresh_token=${refreshCookieIn(answer)}`
      const expiresAt = Math.min((days + 7) * day, 30 * day)
      expect(answer.data.refreshExpiresAt).toBe(new Date(startAt + expiresAt).toISOString())
      const maxAge = expiresAt / 1000 - (days * day) / 1000
      expect(answer.headers.getSetCookie()[0]).toContain(`Max-Age=${maxAge};`)
    }
    await at(30 * day - 1)
    const last = await fromPage(app, 'refresh', cookie)
    expect(last.headers.getSetCookie()[0]).toContain('Max-Age=0;')
    await at(30 * day)
    const over = await fromPage(app, 'refresh', `refresh_token=${refreshCookieIn(last)}`)
    expect(over.reason).toBe('session_expired')
  })

  test('a spent token of an expired family is expired, not reused', async () => {
    await using stopped = await startStopped()
    const { app, at } = stopped
    const { refreshToken, familyId } = await signIn(app)
    const attemptId = randomUUID()
    await refresh(app, refreshToken, attemptId)
    await at(7 * day)
    expect((await refresh(app, refreshToken)).reason).toBe('session_expired')
    expect((await refresh(app, refreshToken, attemptId)).reason).toBe('session_expired')
    expect(await kindsOf(app, familyId)).toEqual(['issued', 'rotated'])
  })

  test('RT-06 (RFC 9700 §4.14.2): a spent token that would have expired itself is still a reuse in an active family', async () => {
    await using stopped = await startStopped()
    const { app, at } = stopped
    const { refreshToken, familyId } = await signIn(app)
    await at(6 * day)
    await refresh(app, refreshToken)
    await at(8 * day)
    expect((await refresh(app, refreshToken)).reason).toBe('refresh_token_reused')
    expect(await kindsOf(app, familyId)).toEqual(['issued', 'rotated', 'reuse_detected'])
  })
})

test('an ended family is refused with its reason and incident, and nothing is written', async () => {
  await using stopped = await startStopped()
  const { app, at } = stopped
  const { refreshToken, familyId } = await signIn(app)
  const { data } = await refresh(app, refreshToken)
  await at(10_000)
  await refresh(app, refreshToken)
  await at(40 * day)
  for (const token of [refreshToken, data.refreshToken])
    expect(await refresh(app, token)).toMatchObject({
      status: 401,
      reason: 'refresh_token_reused',
      incidentId: `${familyId}:3`,
    })
  expect(await kindsOf(app, familyId)).toHaveLength(3)
})

describe('after a restore of an older backup', () => {
  test('a newer token and a token of an unknown family are session_revoked, and nothing is written', async () => {
    await using now = await startApp()
    await using restored = await startApp()
    const { refreshToken, familyId } = await signIn(now)
    const { data } = await refresh(now, refreshToken)
    // The same service: its cookie has the name that its address gives it.
    const { cookie } = await signInWithCookie(now)
    const asItsOwn = cookie.replace(/^\d+/, new URL(restored.url).port)
    const unknown = await fromPage(restored, 'refresh', asItsOwn)
    expect(unknown).toMatchObject({ status: 401, reason: 'session_revoked' })
    expect(refreshCookieIn(unknown)).toBeNull()

    // The backup: the family as it was before the rotation.
    const [family] = await now.owner.ownerSql`
      select family_id, user_id, transport, created_at, absolute_expires_at
      from token_ledger.token_family where family_id = ${familyId}`
    const [issued] = await now.owner.ownerSql`
      select family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id,
        transport, token_hash, origin_salt
      from token_ledger.token_event where family_id = ${familyId} and seq = 1`
    await restored.owner.ownerSql.begin(async (tx) => {
      await tx`insert into token_ledger.token_family ${tx(family!)}`
      await tx`insert into token_ledger.token_event ${tx(issued!)}`
    })
    const ahead = await refresh(restored, data.refreshToken)
    expect(ahead).toMatchObject({ status: 401, reason: 'session_revoked' })
    expect(await kindsOf(restored, familyId)).toEqual(['issued'])
  })
})

describe('the transport of a token', () => {
  test('CK-03 (ASVS 3.3.4): a body family has its token in the body alone, a cookie family in the cookie alone', async () => {
    await using app = await startApp()
    const body = await signIn(app)
    const inBody = await refresh(app, body.refreshToken)
    expect(inBody.data.refreshToken).toMatch(/^tlr1\./)
    expect(inBody.headers.getSetCookie()).toEqual([])
    const { cookie, answer } = await signInWithCookie(app)
    expect(answer.data).not.toHaveProperty('refreshToken')
    const inCookie = await fromPage(app, 'refresh', cookie)
    expect(inCookie.data).not.toHaveProperty('refreshToken')
    expect(refreshCookieIn(inCookie)).toMatch(/^tlr1\./)
    expect(JSON.stringify(inCookie.body)).not.toContain('tlr1.')
  })

  test('RT-13 (RFC 9700 §4.14.2): the other transport is transport_mismatch, in both directions, and does not end the session', async () => {
    await using app = await startApp()
    const body = await signIn(app)
    const page = await signInWithCookie(app)
    const asCookie = await fromPage(app, 'refresh', `refresh_token=${body.refreshToken}`)
    expect(asCookie).toMatchObject({ status: 401, reason: 'transport_mismatch' })
    const asBody = await refresh(app, page.cookie.slice(page.cookie.indexOf('=') + 1))
    expect(asBody).toMatchObject({ status: 401, reason: 'transport_mismatch' })
    expect((await refresh(app, body.refreshToken)).status).toBe(200)
    expect((await fromPage(app, 'refresh', page.cookie)).status).toBe(200)
  })
})

test('when the clock of the database is set back, events keep their order', async () => {
  await using app = await startApp()
  const { refreshToken, familyId } = await signIn(app)
  await moveClock(app.owner.ownerSql, -3600 * 1000)
  const { data } = await refresh(app, refreshToken)
  expect((await refresh(app, data.refreshToken)).status).toBe(200)
  const rows = await app.owner.ownerSql`
    select occurred_at from token_ledger.token_event where family_id = ${familyId} order by seq`
  const times = rows.map((row) => new Date(row.occurred_at).getTime())
  expect(times).toEqual(times.toSorted((a, b) => a - b))
})

test('AT-15 (ASVS 7.4.2): a user who is gone gets session_revoked, and one who is disabled has no session', async () => {
  await using app = await startApp()
  const { id, email } = await makeUser(app.owner.url)
  const { refreshToken, familyId } = await signIn(app, email)
  await app.owner.ownerSql`delete from token_ledger.user_account where user_id = ${id}`
  expect((await refresh(app, refreshToken)).reason).toBe('session_revoked')
  expect(await kindsOf(app, familyId)).toEqual(['issued', 'revoked'])
})
