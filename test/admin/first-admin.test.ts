import { expect, test } from 'vitest'
import { createFirstAdmin } from '../../server/admin/first-admin.ts'
import { startLedger } from '../support/ledger.ts'

test('AD-05 (ASVS 16.3.3): of two processes that start together one creates the first admin, and the action is recorded', async () => {
  await using ledger = await startLedger()
  await using other = await startLedger({}, ledger)
  const made = await Promise.all([ledger, other].map(({ database }) => createFirstAdmin(database)))
  expect(made.filter((one) => one !== null)).toEqual([
    { email: 'admin@example.com', password: expect.stringMatching(/^[\w-]{24}$/) },
  ])
  expect(await createFirstAdmin(ledger.database)).toBeNull()
  const actions = await ledger.owner.ownerSql`
    select a.action, a.actor_user_id, u.email, u.role
    from token_audit.admin_actions a
    join token_ledger.user_account u on u.user_id = a.target_user_id`
  expect([...actions]).toEqual([
    { action: 'user_created', actor_user_id: null, email: 'admin@example.com', role: 'admin' },
  ])
})
