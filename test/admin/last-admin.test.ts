import { expect, test } from 'vitest'
import { disableUser, enableUser, setRole } from '../../server/admin/users.ts'
import { startLedger, testCaller } from '../support/ledger.ts'

const by = { actorUserId: null, caller: testCaller }
const refused = {
  reason: 'validation_failed',
  extras: { problem: 'This is the last admin. Make another user an admin first.' },
}

test('AD-10 (ASVS 2.2.3): the last admin can be neither demoted nor disabled, and stays signed in', async () => {
  await using ledger = await startLedger()
  const deps = { ...ledger.deps, accounts: ledger.deps.users.accounts }
  const admin = await ledger.makeUser('admin')
  await ledger.makeUser('user')
  await ledger.start(admin)
  const demotion = { userId: admin.id, role: 'user' } as const
  await expect(setRole(deps, demotion, by)).rejects.toMatchObject(refused)
  await expect(disableUser(deps, admin.id, by)).rejects.toMatchObject(refused)
  const active = await ledger.owner
    .ownerSql`select from token_audit.sessions where status = 'active'`
  expect(active.count).toBe(1)
  expect(await ledger.owner.ownerSql`select from token_ledger.admin_action`).toHaveLength(0)

  const other = await ledger.makeUser('admin')
  await disableUser(deps, other.id, by)
  await expect(setRole(deps, demotion, by)).rejects.toMatchObject(refused)
  await enableUser(deps, other.id, by)
  await setRole(deps, demotion, by)
  expect((await ledger.deps.users.findByEmail(admin.email))?.role).toBe('user')
})

test('AD-10 (ASVS 2.2.3): when ten admins demote and disable each other at once, one admin is left', async () => {
  await using ledger = await startLedger()
  const deps = { ...ledger.deps, accounts: ledger.deps.users.accounts }
  const admins = await Promise.all(Array.from({ length: 10 }, () => ledger.makeUser('admin')))
  const ends = await Promise.allSettled(
    admins.map(({ id: userId }, i) =>
      i % 2 === 0 ? setRole(deps, { userId, role: 'user' }, by) : disableUser(deps, userId, by),
    ),
  )
  expect(ends.filter(({ status }) => status === 'rejected')).toHaveLength(1)
  const left = await ledger.owner.ownerSql`
    select from token_ledger.user_account where role = 'admin' and disabled_at is null`
  expect(left.count).toBe(1)
})

test('AD-05 (ASVS 16.4.2): no role can change the record of admin actions or choose its time', async () => {
  await using ledger = await startLedger()
  const { ownerSql } = ledger.owner
  const deps = { ...ledger.deps, accounts: ledger.deps.users.accounts }
  await enableUser(deps, (await ledger.makeUser()).id, by)
  const code = { code: 'TL001' }
  const update = ownerSql`update token_ledger.admin_action set reason = 'x'`
  await expect(update).rejects.toMatchObject(code)
  await expect(ownerSql`delete from token_ledger.admin_action`).rejects.toMatchObject(code)
  await expect(ownerSql`truncate token_ledger.admin_action`).rejects.toMatchObject(code)
  const forged = ledger.database.transactions`
    insert into token_ledger.admin_action (action, occurred_at) values ('role_set', now())`
  await expect(forged).rejects.toMatchObject({ code: '42501' })
})
