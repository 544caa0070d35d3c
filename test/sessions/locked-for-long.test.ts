import { expect, test } from 'vitest'
import { isUnavailable } from '../../db/connection/errors.ts'
import { endAllSessions, endSession } from '../../server/sessions/revocation.ts'
import type { LiveSession } from '../../server/sessions/session.ts'
import { waitFor } from '../support/wait.ts'
import { spentOnce, startLedger, testCaller, type TestLedger } from '../support/ledger.ts'
import { isBlocked, lockFamily } from '../support/locks.ts'
import { kindsOf } from '../support/sessions.ts'

type Ask = (ledger: TestLedger, session: LiveSession) => Promise<unknown>

const by = { reason: 'logout', actorUserId: null, caller: testCaller } as const
const presentSpent: Ask = (ledger, { token }) =>
  ledger.rotate({ token, transport: 'body', attemptId: null, caller: testCaller })
const signOut: Ask = ({ deps }, { familyId }) => endSession(deps, { familyId }, by)
const endEverything: Ask = ({ deps }, { user }) => endAllSessions(deps, user.id, { by })

// More than the pool has connections.
const many = 20

test.each([
  { what: 'requested with a spent token', ask: presentSpent, end: 'reuse_detected' },
  { what: 'signed out of', ask: signOut, end: 'revoked' },
  { what: 'ended with all sessions of its user', ask: endEverything, end: 'revoked' },
])('a family that is locked and $what by many clients delays no other family', async (rule) => {
  await using ledger = await startLedger({ graceMs: 0 })
  const session = await spentOnce(ledger)
  let other = await ledger.start(await ledger.makeUser())
  const holder = await lockFamily(ledger, session.familyId)
  const asking = Array.from({ length: many }, () =>
    rule.ask(ledger, session).catch((error: unknown) => error),
  )
  await waitFor(() => isBlocked(ledger))
  for (let i = 0; i < 5; i++) other = await ledger.refresh(other)
  await holder`rollback`
  holder.release()
  for (const answer of await Promise.all(asking)) expect(isUnavailable(answer)).toBe(false)
  expect(await kindsOf(ledger, session.familyId)).toEqual(['issued', 'rotated', rule.end])
})

test('all requests for a locked family are answered after five seconds that it is not available', async () => {
  await using ledger = await startLedger({ graceMs: 0 })
  const session = await spentOnce(ledger)
  const holder = await lockFamily(ledger, session.familyId)
  const since = performance.now()
  const asking = Array.from({ length: many }, () =>
    signOut(ledger, session).catch((error: unknown) => error),
  )
  for (const answer of await Promise.all(asking)) expect(isUnavailable(answer)).toBe(true)
  // They did not wait one after the other.
  expect(performance.now() - since).toBeLessThan(10_000)
  await holder`rollback`
  holder.release()
  expect(await kindsOf(ledger, session.familyId)).toEqual(['issued', 'rotated'])
  expect(await signOut(ledger, session)).toBe(true)
})
