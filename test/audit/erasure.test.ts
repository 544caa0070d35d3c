import { expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { eraseUser } from '../../server/admin/erasure.ts'
import { endSession } from '../../server/sessions/revocation.ts'
import { verifyExport } from '../../server/audit/verify-export.ts'
import { exportLines, startLedger, testCaller, type TestLedger } from '../support/ledger.ts'

const by = { actorUserId: null, caller: { ip: null, userAgent: null } }

test('LG-05, LE-13 (ASVS 14.2.7): an erased user is in no table, and the ledger still verifies', async () => {
  await using ledger = await startLedger()
  const { ownerSql } = ledger.owner
  const person = await ledger.makeUser('admin')
  const other = await ledger.makeUser('admin')
  const mark = { ip: '203.0.113.99', userAgent: 'Person/1.0 browser' }
  const start = (user: typeof person, caller = mark) =>
    ledger.start(user, { caller, deviceName: user === person ? 'Persons phone' : 'laptop' })
  const ended = await ledger.refresh(await start(person))
  await endSession(
    ledger.deps,
    { familyId: ended.familyId },
    {
      reason: 'logout',
      actorUserId: person.id,
      caller: mark,
    },
  )
  await start(person)
  // The user also acted on the session of another user.
  const theirs = await start(other, testCaller)
  const { familyId } = theirs
  const act = { reason: 'admin_revoked', actorUserId: person.id, caller: mark } as const
  await endSession(ledger.deps, { familyId }, act)

  await using deps = asOwner(ledger)
  expect(await eraseUser(deps, person.id, by)).toEqual({ ended: 1, erased: 8 })

  const tables = await ownerSql<{ name: string }[]>`
    select format('%I.%I', schemaname, tablename) as name from pg_tables
    where schemaname = 'token_ledger'`
  for (const { name } of tables) {
    const [found] = await ownerSql.unsafe(
      `select count(*)::int as n from ${name} t
       where t::text ilike any(array['%${person.email}%', '%203.0.113.99%', '%Person/1.0%', '%Persons phone%'])`,
    )
    expect([name, found!.n]).toEqual([name, 0])
  }
  const rest = await ownerSql`
    select from token_audit.events where user_id = ${person.id} and num_nonnulls(ip, user_agent) > 0`
  expect(rest.count).toBe(0)
  const [kept] =
    await ownerSql`select ip, user_agent from token_audit.sessions where user_id = ${other.id}`
  expect(kept).toEqual({ ip: testCaller.ip, user_agent: testCaller.userAgent })

  expect(await ledger.deps.users.findByEmail(person.email)).toBeNull()
  const active = await ownerSql`
    select from token_audit.sessions where user_id = ${person.id} and status = 'active'`
  expect(active.count).toBe(0)
  expect(await ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
  expect(await verifyExport(await exportLines(ledger.database))).toMatchObject({ problems: [] })
  const [done] = await ownerSql`select action, target_user_id from token_audit.admin_actions`
  expect(done).toEqual({ action: 'user_erased', target_user_id: person.id })
})

test('the last admin cannot be erased, and keeps the sessions', async () => {
  await using ledger = await startLedger()
  const admin = await ledger.makeUser('admin')
  await ledger.start(admin)
  await using deps = asOwner(ledger)
  await expect(eraseUser(deps, admin.id, by)).rejects.toMatchObject({ reason: 'validation_failed' })
  const active = await ledger.owner
    .ownerSql`select from token_audit.sessions where status = 'active'`
  expect(active.count).toBe(1)
})

test("the service's own role is not allowed to erase a user", async () => {
  await using ledger = await startLedger()
  const user = await ledger.makeUser()
  const deps = { ...ledger.deps, accounts: ledger.deps.users.accounts }
  await expect(eraseUser(deps, user.id, by)).rejects.toMatchObject({ code: '42501' })
})

function asOwner({ owner, deps }: TestLedger) {
  const database = connect(owner.url, { maxConnections: 1 })
  const { accounts } = deps.users
  const { logSecurityEvent } = deps
  return {
    sql: database.transactions,
    logSecurityEvent,
    accounts,
    [Symbol.asyncDispose]: () => database.close(),
  }
}
