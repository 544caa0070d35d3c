import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { canonicalEmail } from '../../server/users/email.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { cli } from '../support/cli.ts'
import { moveClock } from '../support/clock.ts'
import { auth, query } from '../support/http.ts'
import { sqlStateOf } from '../support/ledger-rows.ts'
import { kindsOf } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

const checkViolation = '23514'

let app: TestApp
beforeAll(async () => {
  app = await startApp()
})
afterAll(async () => {
  await app[Symbol.asyncDispose]()
})

describe('PW-13 V20: user_account takes an e-mail address only in its canonical spelling', () => {
  const domain = `${'b'.repeat(63)}.example`
  const addresses = [
    'user@example.com',
    'first.last+tag@example.co.uk',
    "o'neil_{x}@example.com",
    'a!#$%&*/=?^`|~-@localhost',
    'user@xn--exmple-cua.com',
    `${'a'.repeat(64)}@${domain}`,
    'User@example.com',
    'user@Example.COM',
    'user@EXÄMPLE.com',
    'user@exämple.com',
    ' user@example.com',
    'user@example.com ',
    'user@example.com\n',
    'quac\u212a@x',
    'adm\u0131n@x',
    'usér@example.com',
    'a@b@c',
    'us..er@x',
    '.user@x',
    'user.@x',
    'user@-a.com',
    'user@a-.com',
    'user@a_b.com',
    'user@example..com',
    'user@example.com.',
    'user@127.0.0.1',
    'user@1',
    'user',
    '@example.com',
    'user@',
    `${'a'.repeat(65)}@example.com`,
    `user@${'a'.repeat(64)}.com`,
  ]
  test.each(addresses)('%j', async (address) => {
    const taken = await sqlStateOf(app.owner.ownerSql`
      insert into token_ledger.user_account (user_id, email, password_hash, role)
      values (gen_random_uuid(), ${address}, 'x', 'user')`)
    expect(taken).toBe(canonicalEmail(address) === address ? 'ok' : checkViolation)
  })

  test('an erased user has none', async () => {
    const erased = app.owner.ownerSql`
      insert into token_ledger.user_account (user_id, email, password_hash, role)
      values (gen_random_uuid(), null, 'x', 'user')`
    expect(await sqlStateOf(erased)).toBe('ok')
  })

  test('an update to another spelling is refused', async () => {
    const { email } = await makeUser(app.owner.url)
    const update = app.owner.ownerSql`
      update token_ledger.user_account set email = ${email.toUpperCase()} where email = ${email}`
    expect(await sqlStateOf(update)).toBe(checkViolation)
  })
})

test('the migration puts addresses in another spelling right where that is free, and stops for no others', async () => {
  const { ownerSql } = app.owner
  const migration = await readFile('drizzle/0022_rows_past_the_service.sql', 'utf8')
  const statements = migration.split('--> statement-breakpoint').slice(0, 3)
  const emails = await ownerSql.begin(async (tx) => {
    await tx`alter table token_ledger.user_account drop constraint user_account_email_canonical`
    for (const email of ['Case@Example.COM', 'taken@x', 'Taken@x', 'no address'])
      await tx`
        insert into token_ledger.user_account (user_id, email, password_hash, role)
        values (gen_random_uuid(), ${email}, 'import', 'user')`
    for (const statement of statements) await tx.unsafe(statement)
    const rows = await tx`
      select email from token_ledger.user_account where password_hash = 'import' order by email collate "C"`
    await tx`delete from token_ledger.user_account where password_hash = 'import'`
    return rows.map((row) => String(row.email))
  })
  expect(emails).toEqual(['Taken@x', 'case@example.com', 'no address', 'taken@x'])
})

describe('a user row that is deleted by SQL', () => {
  async function signIn() {
    const { email, id } = await makeUser(app.owner.url)
    const login = await auth(app.url, 'login', { email, password: testPassword, transport: 'body' })
    return { id, email, ...login.data } as Record<string, string>
  }
  const deleteRow = (id: string | undefined) =>
    app.owner.ownerSql`delete from token_ledger.user_account where user_id = ${id!}`

  const mustBeRevoked = ({ accessToken }: Record<string, string>) =>
    waitFor(
      async () => (await query(app.url, 'me', accessToken)).reason === 'access_token_revoked',
      'me says so',
      5_000,
    )

  test('ends its sessions: me and lists say so within five seconds, and a refresh at once', async () => {
    const user = await signIn()
    expect((await query(app.url, 'me', user.accessToken)).status).toBe(200)
    await deleteRow(user.id)
    const list = await query(app.url, 'sessions.list', user.accessToken)
    expect([list.status, list.reason]).toEqual([401, 'access_token_revoked'])
    const refreshed = await auth(app.url, 'refresh', { refreshToken: user.refreshToken })
    expect([refreshed.status, refreshed.reason]).toEqual([401, 'session_revoked'])
    await mustBeRevoked(user)
  })

  test('is noticed as well when its transaction commits late', async () => {
    const { ownerSql } = app.owner
    const minuteMs = 60_000
    await moveClock(ownerSql, -2 * minuteMs)
    const user = await signIn()
    await moveClock(ownerSql, -minuteMs)
    const deleting = await ownerSql.reserve()
    await deleting`begin`
    await deleting`delete from token_ledger.user_account where user_id = ${user.id!}`
    await moveClock(ownerSql, 0)
    // Once this end is known, the process has read all that had committed by now.
    const other = await signIn()
    await auth(app.url, 'logout', { refreshToken: other.refreshToken })
    await mustBeRevoked(other)
    expect((await query(app.url, 'me', user.accessToken)).status).toBe(200)
    await deleting`commit`
    deleting.release()
    await mustBeRevoked(user)
  })

  test('leaves no session that the command line calls active, and the ledger verifies', async () => {
    const user = await signIn()
    await deleteRow(user.id)
    const active = await cli(app.owner.url, ['sessions', 'list', '--status', 'active', '--json'])
    expect(active.stdout).not.toContain(user.familyId)
    const inspected = await cli(app.owner.url, ['sessions', 'inspect', user.familyId!, '--json'])
    expect(inspected.stdout).toContain('"user_disabled"')
    const [last] = await app.owner.ownerSql`
      select kind, reason, actor_user_id from token_ledger.token_event
      where family_id = ${user.familyId!} order by seq desc limit 1`
    expect(last).toEqual({ kind: 'revoked', reason: 'user_disabled', actor_user_id: null })
    expect(await app.owner.ownerSql`select * from token_audit.verify_ledger()`).toHaveLength(0)
  })

  test('leaves sessions alone that are over, and those of others', async () => {
    const [user, other] = [await signIn(), await signIn()]
    await auth(app.url, 'logout', { refreshToken: user.refreshToken })
    const expiring = await signIn()
    await moveClock(app.owner.ownerSql, 8 * 24 * 3_600_000)
    await deleteRow(expiring.id)
    await moveClock(app.owner.ownerSql, 0)
    await deleteRow(user.id)
    const events = await app.owner.ownerSql`
      select kind from token_ledger.token_event
      where family_id in (${user.familyId!}, ${expiring.familyId!}, ${other.familyId!})
      order by kind`
    expect(events.map(({ kind }) => String(kind))).toEqual([
      'issued',
      'issued',
      'issued',
      'revoked',
    ])
    expect((await query(app.url, 'sessions.list', other.accessToken)).status).toBe(200)
  })

  test('invalidates a sign-in of that user that is in progress', async () => {
    const { id } = await makeUser(app.owner.url)
    await deleteRow(id)
    const [row] = await app.owner.ownerSql`
      select epoch from token_ledger.user_epoch where user_id = ${id}`
    expect(row).toEqual({ epoch: 1 })
  })

  test('ends a session whose only token that has not expired came with a step-up', async () => {
    const { ownerSql } = app.owner
    const dayMs = 24 * 3_600_000
    const { id, familyId, refreshToken } = await signIn()
    await moveClock(ownerSql, 4 * dayMs)
    const proof = { refreshToken, attemptId: randomUUID(), password: testPassword }
    expect((await auth(app.url, 'reauthenticate', proof)).status).toBe(200)
    await moveClock(ownerSql, 8 * dayMs)
    await deleteRow(id)
    await moveClock(ownerSql, 0)
    const kinds = await kindsOf(app, familyId!)
    expect(kinds).toEqual(['issued', 'reauthenticated', 'revoked'])
  })
})
