import { expect, test } from 'vitest'
import { createFirstAdmin } from '../../server/admin/first-admin.ts'
import { freshDatabase } from '../support/database.ts'
import { auth } from '../support/http.ts'
import { startLedger } from '../support/ledger.ts'
import { freePort, startServer } from '../support/server.ts'
import { makeUser, testPassword } from '../support/users.ts'

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

test('AD-05: a caller who registers while the service starts cannot take the address of the first admin', async () => {
  await using owner = await freshDatabase()
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  let registered = 0
  const done = new AbortController()
  const rush = async () => {
    while (!done.signal.aborted) {
      const account = { email: 'admin@example.com', password: testPassword }
      const status = await auth(url, 'register', account).then(
        (answer) => answer.status,
        () => 0,
      )
      if (status === 200) registered += 1
      await new Promise(setImmediate)
    }
  }
  const rushing = [rush(), rush(), rush()]
  await using server = await startServer(owner.url, { PORT: String(port) })
  done.abort()
  await Promise.all(rushing)
  expect(registered).toBe(0)
  const admins = await owner.ownerSql`
    select email from token_ledger.user_account where role = 'admin'`
  expect([...admins]).toEqual([{ email: 'admin@example.com' }])
  const [, password] = /password {2}([\w-]{24})/.exec(server.output()) ?? []
  const signedIn = await auth(url, 'login', { email: 'admin@example.com', password })
  expect(signedIn.data.user.role).toBe('admin')
  expect(server.output()).not.toContain('there is no admin')
})

test('AD-05: a start without an admin says so in one line, with the command that makes one', async () => {
  await using owner = await freshDatabase()
  await makeUser(owner.url)
  const [account] = await owner.ownerSql<{ user_id: string }[]>`
    insert into token_ledger.user_account (user_id, email, password_hash, role, disabled_at)
    values (gen_random_uuid(), 'gone@example.com', 'x', 'admin', now())
    returning user_id`
  expect(account).toBeDefined()
  await using server = await startServer(owner.url)
  const lines = server
    .output()
    .split('\n')
    .filter((line) => line.includes('there is no admin'))
  expect(lines).toEqual([
    expect.stringContaining('token-ledger user create --email you@example.com --role admin'),
  ])
})
