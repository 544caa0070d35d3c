import { expect, test } from 'vitest'
import { readStanding, readStandings } from '../../db/audit/standing.ts'
import { endSession } from '../../server/sessions/revocation.ts'
import { startLedger, testCaller } from '../support/ledger.ts'
import { waitFor } from '../support/wait.ts'

test('the check of a live session finds for every session the status that the view of sessions has', async () => {
  await using ledger = await startLedger({ graceMs: 60_000 })
  await using strict = await startLedger({ graceMs: 0 }, ledger)
  await using short = await startLedger({ idleMs: 1_500 }, ledger)
  const user = await ledger.makeUser()
  await ledger.start(user)
  const rotated = await ledger.start(user)
  await ledger.refresh(rotated)
  const replayed = await ledger.start(user)
  await ledger.refresh(replayed)
  await ledger.refresh(replayed)
  const reused = await ledger.start(user)
  await ledger.refresh(reused)
  await strict.refresh(reused).catch(() => {})
  const { familyId } = await ledger.start(user)
  const by = { reason: 'logout', actorUserId: null, caller: testCaller } as const
  await endSession(ledger.deps, { familyId }, by)
  await short.start(user)
  const expiredAfterReplay = await short.start(user)
  await short.refresh(expiredAfterReplay)
  await short.refresh(expiredAfterReplay)

  const read = () => ledger.owner.ownerSql<{ familyId: string; status: string }[]>`
    select family_id as "familyId", status from token_audit.sessions order by family_id`
  await waitFor(
    async () => (await read()).filter(({ status }) => status === 'expired').length === 2,
  )
  const sessions = await read()
  expect(sessions.map(({ status }) => status)).toEqual([
    'active',
    'active',
    'active',
    'reuse_detected',
    'revoked',
    'expired',
    'expired',
  ])
  for (const session of sessions) {
    const standing = await readStanding(ledger.database.statements, session.familyId)
    expect(standing).toMatchObject({ status: session.status, account: { userId: user.id } })
  }
  const unknown = '01990000-0000-7000-8000-000000000000'
  const all = [unknown, ...sessions.map(({ familyId: id }) => id).toReversed(), unknown]
  const together = await readStandings(ledger.database.statements, all)
  expect(together.map((standing) => standing?.status)).toEqual([
    undefined,
    ...sessions.map(({ status }) => status).toReversed(),
    undefined,
  ])
  expect(await readStanding(ledger.database.statements, unknown)).toBeNull()
})
