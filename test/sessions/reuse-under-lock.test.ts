import { expect, test } from 'vitest'
import { createRotation } from '../../server/sessions/rotation.ts'
import type { TeamDirectory } from '../../server/users/team-directory.ts'
import { waitFor } from '../support/wait.ts'
import { spentOnce, startLedger, testCaller, type TestLedger } from '../support/ledger.ts'
import { isBlocked, lockFamily } from '../support/locks.ts'
import { kindsOf } from '../support/sessions.ts'

const bySomebody = { transport: 'body', attemptId: null, caller: testCaller } as const

test('a reuse whose family ended while it waited for the lock gets that end as its reason and writes nothing', async () => {
  await using ledger = await startLedger({ graceMs: 0 })
  const first = await spentOnce(ledger)
  const holder = await lockFamily(ledger, first.familyId)
  const reuse = ledger
    .rotate({ ...bySomebody, token: first.token })
    .catch((error: unknown) => error)
  await waitFor(() => isBlocked(ledger))
  await holder`
    insert into token_ledger.token_event (family_id, seq, kind, generation, occurred_at, reason)
    values (${first.familyId}, 3, 'revoked', 1, token_ledger.clock(), 'admin_revoked')`
  await holder`commit`
  holder.release()
  expect(await reuse).toMatchObject({
    reason: 'session_revoked',
    extras: { incidentId: `${first.familyId}:3` },
  })
  expect(await kindsOf(ledger, first.familyId)).toEqual(['issued', 'rotated', 'revoked'])
})

test('a reuse whose client hung up while it waited for the lock ends nothing', async () => {
  await using ledger = await startLedger({ graceMs: 0 })
  const first = await spentOnce(ledger)
  const holder = await lockFamily(ledger, first.familyId)
  let isWaiting = true
  const request = { ...bySomebody, token: first.token, isClientWaiting: () => isWaiting }
  const reuse = ledger.rotate(request).catch((error: unknown) => error)
  await waitFor(() => isBlocked(ledger))
  isWaiting = false
  await holder`rollback`
  holder.release()
  expect(await reuse).toMatchObject({ reason: 'service_unavailable' })
  expect(await kindsOf(ledger, first.familyId)).toEqual(['issued', 'rotated'])
})

test('RT-09: the backend dies between two statements of a reuse, while a user directory is asked: nothing was written, and the next try is a reuse', async () => {
  await using ledger = await startLedger({ graceMs: 0 })
  const first = await spentOnce(ledger)
  const { accounts: _, fromAccountRow: __, ...own } = ledger.deps.users
  let asked = 0
  let goOn = () => {}
  const users: TeamDirectory = {
    ...own,
    async findOwners(ids) {
      // The second time it is asked under the lock, by a transaction that is idle meanwhile.
      if (++asked === 2) await new Promise<void>((resolve) => (goOn = resolve))
      return own.findMany(ids)
    },
  }
  const { rotate } = createRotation({ ...ledger.deps, users })
  const lost = rotate({ ...bySomebody, token: first.token }).catch((error: unknown) => error)
  await waitFor(async () => asked === 2)
  const pid = await waitFor(() => findIdleInTransaction(ledger))
  await ledger.owner.ownerSql`select pg_terminate_backend(${pid})`
  await waitFor(async () => (await findIdleInTransaction(ledger)) === undefined)
  goOn()
  expect(await lost).toBeInstanceOf(Error)
  expect(await kindsOf(ledger, first.familyId)).toEqual(['issued', 'rotated'])

  const again = rotate({ ...bySomebody, token: first.token })
  await expect(again).rejects.toMatchObject({ reason: 'refresh_token_reused' })
  expect(await kindsOf(ledger, first.familyId)).toEqual(['issued', 'rotated', 'reuse_detected'])
})

async function findIdleInTransaction({ owner }: TestLedger): Promise<number | undefined> {
  const [row] = await owner.ownerSql<{ pid: number }[]>`
    select pid from pg_stat_activity
    where datname = current_database() and application_name = 'token-ledger'
      and state = 'idle in transaction'`
  return row?.pid
}
