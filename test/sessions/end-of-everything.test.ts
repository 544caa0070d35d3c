import { expect, test } from 'vitest'
import { readEpoch } from '../../db/ledger/locks.ts'
import { endAllSessions } from '../../server/sessions/revocation.ts'
import { shutGate } from '../support/gate.ts'
import { waitFor } from '../support/wait.ts'
import { startLedger, testCaller, type TestLedger } from '../support/ledger.ts'
import { isBlocked } from '../support/locks.ts'

const by = { reason: 'admin_revoked', actorUserId: null, caller: testCaller } as const

test('RT-17, V5 (ASVS 15.4.2): a sign-in that read the epoch before all sessions were ended begins no session', async () => {
  await using ledger = await startLedger()
  const user = await ledger.makeUser()
  const epoch = await readEpoch(ledger.database, user.id)
  // Also without a session to end: the password was right before, and may have changed since.
  expect(await endAllSessions(ledger.deps, user.id, { by })).toBe(0)
  await expect(ledger.start(user, { epoch })).rejects.toMatchObject({ reason: 'session_revoked' })
  const again = await readEpoch(ledger.database, user.id)
  await ledger.start(user, { epoch: again })
  expect(await statuses(ledger)).toEqual(['active'])
})

test('RT-17, V5 (ASVS 15.4.2): a session that begins while all sessions are ended is ended as well', async () => {
  await using ledger = await startLedger()
  await using other = await startLedger({}, ledger)
  const user = await ledger.makeUser()
  await using gate = await shutGate(ledger.owner.ownerSql, 'insert')
  const starting = other.start(user)
  await waitFor(() => gate.firstWaiter())
  const ending = endAllSessions(ledger.deps, user.id, { by })
  await waitFor(() => isBlocked(ledger))
  await gate[Symbol.asyncDispose]()
  await starting
  expect(await ending).toBe(1)
  expect(await statuses(ledger)).toEqual(['revoked'])
})

test('a session that begins while a reuse ends all sessions of its user is ended as well', async () => {
  const policy = { reuseScope: 'user', graceMs: 0 } as const
  await using ledger = await startLedger(policy)
  await using other = await startLedger(policy, ledger)
  const user = await ledger.makeUser()
  const stolen = await ledger.start(user)
  await ledger.refresh(stolen)
  await using gate = await shutGate(ledger.owner.ownerSql, 'insert')
  const starting = other.start(user)
  await waitFor(() => gate.firstWaiter())
  const reuse = ledger.refresh(stolen).catch((error: unknown) => error)
  await waitFor(() => isBlocked(ledger))
  await gate[Symbol.asyncDispose]()
  await starting
  expect(await reuse).toMatchObject({ reason: 'refresh_token_reused' })
  expect(await statuses(ledger)).toEqual(['reuse_detected', 'revoked'])
})

test('a call of a session that has ended ends no other session and invalidates no sign-in', async () => {
  await using ledger = await startLedger()
  const user = await ledger.makeUser()
  const [speaker] = [await ledger.start(user), await ledger.start(user)]
  await endAllSessions(ledger.deps, user.id, { by })
  const epoch = await readEpoch(ledger.database, user.id)
  await ledger.start(user, { epoch })
  const { token, transport } = speaker
  const call = { token, transport, caller: testCaller, everywhere: true, isOnly: true }
  expect(await ledger.signOut(call)).toBe(0)
  expect(await readEpoch(ledger.database, user.id)).toBe(epoch)
  expect(await statuses(ledger)).toEqual(['revoked', 'revoked', 'active'])
})

async function statuses({ owner }: TestLedger): Promise<string[]> {
  const rows = await owner.ownerSql<{ status: string }[]>`
    select status from token_audit.sessions order by family_id`
  return rows.map(({ status }) => status)
}
