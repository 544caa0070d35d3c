import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freezeMonths } from '../../db/ledger/archive.ts'
import { ensurePartitions } from '../../db/ledger/partitions.ts'
import { migrate } from '../../db/migrate.ts'
import { disableUser, setRole } from '../../server/admin/users.ts'
import { replaceSigningKeys } from '../../server/tokens/key-changes.ts'
import { cli } from '../support/cli.ts'
import { emptyDatabase } from '../support/database.ts'
import { startLedger, testCaller, type TestLedger } from '../support/ledger.ts'
import { testSecret } from '../support/server.ts'
import { sqlStateOf } from '../support/ledger-rows.ts'
import { loginWith, type Login } from '../support/login.ts'

const by = { actorUserId: null, caller: testCaller }

let ledger: TestLedger
let auditor: Login
beforeAll(async () => {
  ledger = await startLedger()
  auditor = await loginWith(ledger.owner, { roles: ['token_ledger_auditor'] })
})
afterAll(async () => {
  await auditor[Symbol.asyncDispose]()
  await ledger[Symbol.asyncDispose]()
})

const names = ['keep_an_admin', 'ensure_partitions', 'partitions', 'signing_key', 'signing_keys']

describe('LE-16 (ASVS 15.4.2): an auditor who holds every advisory lock of the ledger', () => {
  beforeAll(async () => {
    for (const name of [...names, 'migrate'])
      await auditor.sql`select pg_advisory_lock(hashtextextended(${`token_ledger.${name}`}, 0))`
  })

  test('keeps no admin from being disabled or demoted', async () => {
    const deps = { ...ledger.deps, accounts: ledger.deps.users.accounts }
    const [, rogue, another] = await Promise.all([1, 2, 3].map(() => ledger.makeUser('admin')))
    await disableUser(deps, rogue!.id, by)
    await setRole(deps, { userId: another!.id, role: 'user' }, by)
    const left = await ledger.owner.ownerSql`
      select from token_ledger.user_account where role = 'admin' and disabled_at is null`
    expect(left).toHaveLength(1)
  })

  test('keeps no signing key from being replaced', async () => {
    const kid = await replaceSigningKeys(ledger.database, [testSecret])
    const kids = await ledger.owner.ownerSql`select kid from token_ledger.signing_key`
    expect([...kids]).toEqual([{ kid }])
  })

  test('keeps no month from being made or archived', async () => {
    expect(await ensurePartitions(ledger.database)).toBe(0)
    await ledger.owner.ownerSql.begin((tx) => freezeMonths(tx, []))
  })

  test('keeps no process from starting', async () => {
    expect(await migrate(ledger.owner.url, { turnMs: 500 })).toEqual([])
    await using empty = await emptyDatabase()
    await using login = await loginWith(empty)
    await login.sql`select pg_advisory_lock(hashtextextended('token_ledger.migrate', 0))`
    expect(await migrate(empty.url, { turnMs: 500 })).toEqual([])
  })

  test('cannot lock the turns that the service takes', async () => {
    for (const statement of [
      "select token_ledger.take_turn('signing_keys')",
      'select from token_ledger.turn for update',
      'do $$ begin lock table token_ledger.turn in access share mode; end $$',
      'do $$ begin lock table token_ledger_migrations.applied in access share mode; end $$',
    ])
      expect(await sqlStateOf(auditor.sql.unsafe(statement))).toBe('42501')
  })
})

describe('LE-16 (ASVS 15.4.2): a wait for a lock ends, and names the session that holds it', () => {
  // Each waits for five seconds: all at the same time, each on a database of its own.
  test.concurrent.each([
    ['signing_keys', ''],
    ['keep_an_admin', ''],
    ['partitions', ''],
    ['signing_keys', 'savepoint s'],
  ])('%s %s', async (turn, savepoint) => {
    await using own = await startLedger()
    const deps = { ...own.deps, accounts: own.deps.users.accounts }
    const admins = await Promise.all([1, 2].map(() => own.makeUser('admin')))
    const holder = await own.owner.ownerSql.reserve()
    const [who] = await holder`select pg_backend_pid() as pid, current_user as user`
    await holder.unsafe(`begin; ${savepoint}`)
    await holder`select token_ledger.take_turn(${turn})`
    const waiting = {
      signing_keys: () => replaceSigningKeys(own.database, [testSecret]),
      keep_an_admin: () => disableUser(deps, admins[0]!.id, by),
      partitions: () => ensurePartitions(own.database),
    }[turn]!
    const said = `the turn ${turn} is held by pid ${who!.pid}, user ${who!.user}, application "postgres.js"`
    const answer = await waiting().catch((error: unknown) => error)
    await holder`rollback`
    holder.release()
    expect(answer).toMatchObject({ code: '55P03', message: said })
    await waiting()
  })

  test.concurrent('the command line, which prints who holds it', async () => {
    await using own = await startLedger()
    const holder = await own.owner.ownerSql.reserve()
    const [who] = await holder`select pg_backend_pid() as pid`
    await holder`begin`
    await holder`select token_ledger.take_turn('signing_keys')`
    const { code, stderr } = await cli(own.owner.url, ['keys', 'rotate', '--compromised'])
    expect(stderr).toContain(`the turn signing_keys is held by pid ${who!.pid}, user `)
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(code).toBe(2)
    await holder`rollback`
    holder.release()
  })

  test('a migration, for one of the version before, which takes an advisory lock', async () => {
    await using old = await emptyDatabase()
    const holder = await old.ownerSql.reserve()
    const [who] = await holder`select pg_backend_pid() as pid, current_user as user`
    await holder`select pg_advisory_lock(hashtextextended('token_ledger.migrate', 0))`
    const said = `the migration waits for pid ${who!.pid}, user ${who!.user}, application "postgres.js"`
    await expect(migrate(old.url, { turnMs: 300 })).rejects.toThrow(said)
    const waiting = migrate(old.url)
    await holder`select pg_advisory_unlock(hashtextextended('token_ledger.migrate', 0))`
    holder.release()
    expect(await waiting).toEqual([])
  })

  test('a version before waits for a migration of this one', async () => {
    await using database = await emptyDatabase()
    const holder = await database.ownerSql.reserve()
    await holder`create schema token_ledger_migrations`
    await holder`
      create table token_ledger_migrations.applied (
        id serial primary key, hash text not null, created_at bigint)`
    await holder`begin`
    await holder`lock table token_ledger_migrations.applied in row exclusive mode`
    const waiting = migrate(database.url)
    const tryOld = () => database.ownerSql`
      select pg_try_advisory_xact_lock(hashtextextended('token_ledger.migrate', 0)) as taken`
    await expect.poll(tryOld, { timeout: 10_000 }).toEqual([{ taken: false }])
    await holder`rollback`
    holder.release()
    expect(await waiting).toEqual([])
    expect(await tryOld()).toEqual([{ taken: true }])
  })

  test('a migration, for another of this version', async () => {
    const holder = await ledger.owner.ownerSql.reserve()
    const [who] = await holder`select pg_backend_pid() as pid, current_user as user`
    await holder`begin`
    await holder`lock table token_ledger_migrations.applied in share row exclusive mode`
    const said = `the migration waits for pid ${who!.pid}, user ${who!.user}, application "postgres.js"`
    await expect(migrate(ledger.owner.url, { turnMs: 500 })).rejects.toThrow(said)
    await holder`rollback`
    holder.release()
  })

  test('an archive, for a reader of the months', async () => {
    const month = new Date().toISOString().slice(0, 7).replace('-', '')
    const months = [{ month, firstId: '', lastId: '' }]
    const holder = await ledger.owner.ownerSql.reserve()
    const [who] = await holder`select pg_backend_pid() as pid`
    await holder`begin`
    await holder.unsafe(`lock table token_ledger.token_event_${month} in row exclusive mode`)
    const freezing = ledger.owner.ownerSql.begin(async (tx) => {
      await tx`set local lock_timeout = '300ms'`
      await freezeMonths(tx, months)
    })
    await expect(freezing).rejects.toThrow(`the months are in use by pid ${who!.pid}, user `)
    await holder`rollback`
    holder.release()
  })
})

test('LE-16 (ASVS 15.4.2): no function of the ledger takes an advisory lock', async () => {
  const found = await ledger.owner.ownerSql`
    select oid::regproc from pg_proc
    where pronamespace::regnamespace::text like 'token\\_%' and prosrc like '%advisory%'`
  expect(found).toEqual([])
})

test('LE-16 (ASVS 15.4.2): months are made at most 24 ahead', async () => {
  for (const months of ['25', '240', '-1', 'null']) {
    const made = ledger.database.transactions.unsafe(
      `select token_ledger.ensure_partitions(${months})`,
    )
    expect(await sqlStateOf(made)).toBe('22023')
  }
})
