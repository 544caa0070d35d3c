import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { countActiveSessions, countSessionsOf } from '../../db/audit/session-counts.ts'
import { listComeBacks } from '../../db/audit/timeline.ts'
import { AuthError } from '../../server/errors.ts'
import type { RefreshRequest } from '../../server/sessions/refresh-decision.ts'
import type { LiveSession } from '../../server/sessions/session.ts'
import { moveClock } from '../support/clock.ts'
import { startLedger, testCaller, type TestLedger } from '../support/ledger.ts'
import { kindsOf } from '../support/sessions.ts'

/** Two pools of connections on one database, as two processes have them. */
let here: TestLedger
let there: TestLedger
const byPassword = { methods: ['pwd'], authenticatedAt: null }
const hourMs = 3600 * 1000

beforeAll(async () => {
  here = await startLedger()
  there = await startLedger({}, here)
})
afterAll(async () => {
  await there?.[Symbol.asyncDispose]()
  await here?.[Symbol.asyncDispose]()
})

test('ASVS 7.2.4: a reauthentication replaces the token, and the old one is dead at once: no grace window', async () => {
  const first = await begin()
  const attemptId = randomUUID()
  const next = await stepUp(here, first, attemptId)
  expect(next.isReauthenticated).toBe(true)
  expect(next.token.generation).toBe(1)
  expect(await reasonOf(refresh(there, first, randomUUID()))).toBe('refresh_token_reused')
  expect(await kindsOf(here, first.familyId)).toEqual([
    'issued',
    'reauthenticated',
    'reuse_detected',
  ])
  expect(await reasonOf(refresh(here, next, randomUUID()))).toBe('refresh_token_reused')
})

test('a client whose answer was lost repeats it with its attempt and gets the same successor, by either call, an hour later', async () => {
  const first = await begin()
  const attemptId = randomUUID()
  const lost = await stepUp(here, first, attemptId)
  const again = await stepUp(there, first, attemptId)
  await moveClock(here.owner.ownerSql, hourMs)
  const late = await refresh(there, first, attemptId)
  await moveClock(here.owner.ownerSql, 0)
  expect(again.isReauthenticated).toBe(true)
  for (const { token, authentication } of [again, late])
    expect([token.value, authentication]).toEqual([lost.token.value, lost.authentication])
  expect(await kindsOf(here, first.familyId)).toEqual([
    'issued',
    'reauthenticated',
    'replayed',
    'replayed',
  ])
})

test('a reauthentication that a refresh of the same client came before gets its token, and succeeds with it', async () => {
  const first = await begin()
  const attemptId = randomUUID()
  const rotated = await refresh(here, first, attemptId)
  const late = await stepUp(there, first, attemptId)
  expect(late.isReauthenticated).toBe(false)
  expect(late.token.value).toBe(rotated.token.value)
  const done = await stepUp(there, late, randomUUID())
  expect(done.isReauthenticated).toBe(true)
  expect(await kindsOf(here, first.familyId)).toEqual([
    'issued',
    'rotated',
    'replayed',
    'reauthenticated',
  ])
})

test('counts of active sessions know the token of a step-up', async () => {
  const { ownerSql } = here.owner
  const user = await here.makeUser()
  const first = await here.start(user)
  await moveClock(ownerSql, 4 * 24 * hourMs)
  await stepUp(here, first, randomUUID())
  await moveClock(ownerSql, 8 * 24 * hourMs)
  const counts = await countSessionsOf(here.database.questions, [user.id])
  const all = await countActiveSessions(here.database.questions)
  await moveClock(ownerSql, 0)
  expect([...counts]).toEqual([[user.id, 1]])
  expect(all).toEqual({ count: 1, isExact: true })
})

test('a token that a step-up spent comes back: the story says when it was spent', async () => {
  const first = await begin()
  const attemptId = randomUUID()
  await stepUp(here, first, attemptId)
  await refresh(here, first, attemptId)
  expect(await reasonOf(refresh(here, first, randomUUID()))).toBe('refresh_token_reused')
  const known = { spentBySeq: 2, sameNetwork: true, sameUserAgent: true }
  expect(await listComeBacks(here.database.questions, first.familyId, 50)).toMatchObject([
    { seq: 3, ...known },
    { seq: 4, ...known },
  ])
})

async function begin(): Promise<LiveSession> {
  return here.start(await here.makeUser())
}

function stepUp(ledger: TestLedger, session: LiveSession, attemptId: string) {
  return ledger.rotate({ ...requestOf(session, attemptId), reauthentication: byPassword })
}

function refresh(ledger: TestLedger, session: LiveSession, attemptId: string) {
  return ledger.rotate(requestOf(session, attemptId))
}

function requestOf({ token, transport }: LiveSession, attemptId: string): RefreshRequest {
  return { token, transport, attemptId, caller: testCaller }
}

function refusalOf(error: unknown): string {
  if (error instanceof AuthError) return error.reason
  throw error
}

async function reasonOf(call: Promise<unknown>): Promise<string> {
  return call.then(() => 'granted', refusalOf)
}
