import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { verifyExport } from '../../server/audit/verify-export.ts'
import { endSession } from '../../server/sessions/revocation.ts'
import type { LiveSession } from '../../server/sessions/session.ts'
import { stopClock } from '../support/clock.ts'
import { exportLines, startLedger, testCaller, type TestLedger } from '../support/ledger.ts'
import { reauthenticate } from '../support/reauthentication.ts'

const start = Date.UTC(2026, 0, 5)
const minuteMs = 60_000
let ledger: TestLedger
let at = start

beforeAll(async () => {
  ledger = await startLedger()
})
afterAll(() => ledger[Symbol.asyncDispose]())

/** Each test goes on in the next minute. */
async function passMinute(): Promise<number> {
  at += minuteMs
  await stopClock(ledger.owner.ownerSql, at)
  return at
}

async function stateAt({ familyId }: LiveSession, then: number) {
  const [row] = await ledger.owner.ownerSql`
    select methods, (extract(epoch from authenticated_at) * 1000)::float8 as at
    from token_audit.session_state_at(${familyId}, ${new Date(then).toISOString()}::timestamptz)`
  return row
}

test('a session keeps its methods and their instant through rotations, and SQL says them at any moment in the past', async () => {
  const { ownerSql } = ledger.owner
  const signedInAt = await passMinute()
  const idpAt = signedInAt - 5 * minuteMs
  const user = await ledger.makeUser()
  const first = await ledger.start(user, { methods: ['fed'], authenticatedAt: idpAt })
  const rotated = await ledger.refresh(await ledger.refresh(first))
  const before = { methods: ['fed'], authenticatedAt: idpAt }
  expect([first.authentication, rotated.authentication]).toEqual([before, before])

  const provedAt = await passMinute()
  const proved = await reauthenticate(ledger, rotated, { methods: ['pwd', 'otp'] })
  const later = await ledger.refresh(proved)
  const after = { methods: ['pwd', 'otp'], authenticatedAt: provedAt }
  expect([proved.authentication, later.authentication]).toEqual([after, after])
  const endedAt = await passMinute()
  await endSession(
    ledger.deps,
    { familyId: first.familyId },
    { reason: 'logout', actorUserId: user.id, caller: testCaller },
  )

  expect(await stateAt(first, signedInAt - 1)).toBeUndefined()
  expect(await stateAt(first, provedAt - 1)).toEqual({ methods: ['fed'], at: idpAt })
  for (const then of [provedAt, endedAt, endedAt + minuteMs])
    expect(await stateAt(first, then)).toEqual({ methods: ['pwd', 'otp'], at: provedAt })
  const { familyId } = first
  const [then] = await ownerSql`
    select methods, authenticated_at from token_audit.sessions_at(${new Date(provedAt - 1).toISOString()}::timestamptz)
    where family_id = ${familyId}`
  expect(then).toEqual({ methods: ['fed'], authenticated_at: new Date(idpAt) })
  const [now] = await ownerSql`
    select methods, authenticated_at, rotations from token_audit.sessions where family_id = ${familyId}`
  expect(now).toEqual({
    methods: ['pwd', 'otp'],
    authenticated_at: new Date(provedAt),
    rotations: 4,
  })
  const events = await ownerSql`
    select kind, methods from token_audit.events where family_id = ${familyId} order by seq`
  expect(events.map(({ kind, methods }) => [kind, methods])).toEqual([
    ['issued', ['fed']],
    ['rotated', ['fed']],
    ['rotated', ['fed']],
    ['reauthenticated', ['pwd', 'otp']],
    ['rotated', ['pwd', 'otp']],
    ['revoked', null],
  ])
})

test('an instant of the future counts as now: the clock of what proved it may be ahead', async () => {
  const now = await passMinute()
  const first = await ledger.start(await ledger.makeUser(), { authenticatedAt: now + minuteMs })
  expect(first.authentication).toEqual({ methods: ['pwd'], authenticatedAt: now })
  const next = await reauthenticate(ledger, first, { methods: ['pwd'], authenticatedAt: now + 1 })
  expect(next.authentication).toEqual({ methods: ['pwd'], authenticatedAt: now })
})

test('a reauthentication kills its predecessor at once, and the same attempt gets the same successor (ASVS 5.0, 7.2.4)', async () => {
  await passMinute()
  const first = await ledger.start(await ledger.makeUser())
  const proof = { methods: ['pwd'], attemptId: randomUUID() }
  const next = await reauthenticate(ledger, first, proof)
  const again = await reauthenticate(ledger, first, proof)
  expect(again.token.value).toBe(next.token.value)
  expect((await ledger.refresh(first, proof.attemptId)).token.value).toBe(next.token.value)
  await expect(ledger.refresh(first, randomUUID())).rejects.toMatchObject({
    reason: 'refresh_token_reused',
  })
  await expect(ledger.refresh(next)).rejects.toMatchObject({ reason: 'refresh_token_reused' })
  const [incident] = await ledger.owner.ownerSql`
    select generations_behind from token_audit.reuse_incidents where family_id = ${first.familyId}`
  expect(incident).toEqual({ generations_behind: 1 })
})

test('a rotation after a replay has the authentication of the token that was replayed', async () => {
  await passMinute()
  const first = await ledger.start(await ledger.makeUser(), { methods: ['fed', 'mfa'] })
  const attemptId = randomUUID()
  await ledger.refresh(first, attemptId)
  const replayed = await ledger.refresh(first, attemptId)
  const next = await ledger.refresh(replayed)
  expect(next.authentication).toEqual(first.authentication)
  const events = await ledger.owner.ownerSql`
    select kind, methods from token_audit.events where family_id = ${first.familyId} order by seq`
  expect(events.map(({ kind, methods }) => [kind, methods])).toEqual([
    ['issued', ['fed', 'mfa']],
    ['rotated', ['fed', 'mfa']],
    ['replayed', null],
    ['rotated', ['fed', 'mfa']],
  ])
})

test('after all of this, SQL and TypeScript find every hash and every history intact', async () => {
  expect(await ledger.owner.ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
  const lines = await exportLines(ledger.database)
  expect((await verifyExport(lines)).problems).toEqual([])
})
