import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect, type Database } from '../../db/connection/connect.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import {
  familyId,
  familyRow,
  insertEvents,
  issuedRow,
  rotatedRow,
  sqlStateOf,
} from '../support/ledger-rows.ts'

const denied = '42501'
const appendOnly = 'TL001'

let owner: FreshDatabase
let app: Database
let auditor: Database
beforeAll(async () => {
  owner = await freshDatabase()
  app = connect(owner.url, { role: 'token_ledger_app', maxConnections: 2 })
  auditor = connect(owner.url, { role: 'token_ledger_auditor', maxConnections: 2 })
  await app.transactions.begin(async (tx) => {
    await tx`insert into token_ledger.token_family ${tx(familyRow())}`
    await insertEvents(tx, issuedRow(), rotatedRow(1))
  })
})
afterAll(async () => {
  await app.close()
  await auditor.close()
  await owner[Symbol.asyncDispose]()
})

const tables = ['token_ledger.token_event', 'token_ledger.token_family']
const changes = tables.flatMap((table) => [
  `delete from ${table}`,
  `truncate ${table} cascade`,
  `update ${table} set family_id = gen_random_uuid()`,
])
const eventChanges = [
  'seq = seq + 1',
  "kind = 'revoked'",
  'generation = generation + 1',
  "occurred_at = occurred_at - interval '1 second'",
  "expires_at = expires_at + interval '1 second'",
  'expires_at = null',
  "absolute_expires_at = absolute_expires_at + interval '1 second'",
  'token_hash = sha256(token_hash)',
  "salt = '\\x00'",
  "reason = 'logout'",
  'user_id = gen_random_uuid()',
  "hash = sha256('')",
  "prev_hash = sha256('')",
  "origin_hash = sha256('')",
  "txid = '3'",
  "ip = '198.51.100.1'",
  "user_agent = 'another'",
  'origin_salt = sha256(origin_salt)',
  'ip = null, kind = kind || kind',
].map((set) => `update token_ledger.token_event set ${set}`)
const familyChanges = [
  'user_id = gen_random_uuid()',
  "transport = 'body'",
  'created_at = now()',
  "absolute_expires_at = absolute_expires_at + interval '1 year'",
  'lock_mark = 1',
  "device_name = 'another'",
].map((set) => `update token_ledger.token_family set ${set}`)

describe('LE-02 (ASVS 16.4.2): the service', () => {
  test.each([...changes, ...eventChanges, ...familyChanges.filter((c) => !/lock_mark/.test(c))])(
    'the service has no right to %s',
    async (statement) => {
      expect(await sqlStateOf(app.transactions.unsafe(statement))).toBe(denied)
    },
  )

  test('the service may lock a family, which needs UPDATE on one column, and may not change that column', async () => {
    const locked = await app.transactions.begin(
      (tx) => tx`select from token_ledger.token_family where family_id = ${familyId} for update`,
    )
    expect(locked).toHaveLength(1)
    const mark = 'update token_ledger.token_family set lock_mark = 1'
    expect(await sqlStateOf(app.transactions.unsafe(mark))).toBe(appendOnly)
  })

  test.each(['hash', 'prev_hash', 'origin_hash', 'txid'])(
    'the service may not write the %s of an event',
    async (column) => {
      const value = column === 'txid' ? '3' : Buffer.alloc(32)
      const event = rotatedRow(2, { [column]: value })
      expect(await sqlStateOf(insertEvents(app.transactions, event))).toBe(denied)
    },
  )

  test.each([
    'alter table token_ledger.token_event disable trigger all',
    'drop trigger chain_event on token_ledger.token_event',
    "set session_replication_role = 'replica'",
    "select token_ledger.guard_partition('user_account')",
    'create table token_ledger.mine ()',
    'drop table token_ledger.token_event_default',
    'insert into token_ledger.token_event_default default values',
    'delete from token_ledger.user_account',
    'drop schema token_audit cascade',
  ])('the service may not %s', async (statement) => {
    // As the login role of a real installation, without superuser rights behind it.
    const sent = app.transactions.begin(async (tx) => {
      await tx`set local session authorization token_ledger_app`
      await tx.unsafe(statement)
    })
    expect(await sqlStateOf(sent)).toBe(denied)
  })
})

describe('LE-02 (ASVS 16.4.2): the owner of the tables', () => {
  test.each([...changes, ...eventChanges, ...familyChanges])(
    'the owner may not %s',
    async (statement) => {
      expect(await sqlStateOf(owner.ownerSql.unsafe(statement))).toBe(appendOnly)
    },
  )

  test.each(changes)(
    'the owner may not %s as a replica, where ordinary triggers do not fire',
    async (statement) => {
      const sent = owner.ownerSql.begin(async (tx) => {
        await tx`set local session_replication_role = replica`
        await tx.unsafe(statement)
      })
      expect(await sqlStateOf(sent)).toBe(appendOnly)
    },
  )

  test('the owner may not change a partition directly either', async () => {
    const { ownerSql } = owner
    for (const { name, is_events: isEvents } of await partitions()) {
      expect(await sqlStateOf(ownerSql.unsafe(`truncate ${name}`))).toBe(appendOnly)
      // A row of its own, so that row triggers have a row to refuse.
      const [{ family_id: id }] = (await ownerSql.unsafe(`
        select coalesce(
          (select family_id from ${name} limit 1),
          '01943f5d-7800-7000-8000-000000000001') as family_id`)) as any
      const holds = await ownerSql.unsafe(`select from ${name} where family_id = '${id}'`)
      if (holds.length === 0) continue
      const update = `update ${name} set ${isEvents ? 'generation = 9' : "transport = 'body'"}`
      expect(await sqlStateOf(ownerSql.unsafe(update))).toBe(appendOnly)
      expect(await sqlStateOf(ownerSql.unsafe(`delete from ${name}`))).toBe(appendOnly)
    }
  })
})

describe('erasing ip and user agent', () => {
  test('ip, user_agent and salt may be erased, and the hash chain still holds', async () => {
    const erased = await owner.ownerSql.begin(async (tx) => {
      const before = await tx`select seq, hash, token_ledger.event_hash(e) as again
        from token_ledger.token_event e order by seq`
      await tx`update token_ledger.token_event
        set ip = null, user_agent = null, origin_salt = null where family_id = ${familyId}`
      const after = await tx`select seq, hash, token_ledger.event_hash(e) as again
        from token_ledger.token_event e order by seq`
      return { before, after }
    })
    expect(erased.after).toEqual(erased.before)
    for (const { hash, again } of erased.after) expect(again).toEqual(hash)
    const left = await owner.ownerSql`
      select from token_ledger.token_event where num_nonnulls(ip, user_agent, origin_salt) > 0`
    expect(left).toHaveLength(0)
  })

  test('an erasure cannot be undone, and cannot leave the salt', async () => {
    const { ownerSql } = owner
    const back = "update token_ledger.token_event set ip = '192.0.2.1'"
    expect(await sqlStateOf(ownerSql.unsafe(back))).toBe(appendOnly)
    await insertEvents(app.transactions, rotatedRow(2))
    const half = 'update token_ledger.token_event set ip = null, user_agent = null where seq = 3'
    expect(await sqlStateOf(ownerSql.unsafe(half))).toBe(appendOnly)
  })

  test('the name of a device may be erased', async () => {
    const { ownerSql } = owner
    expect(
      await sqlStateOf(ownerSql`update token_ledger.token_family set device_name = null`),
    ).toBe('ok')
  })
})

describe('the auditor', () => {
  test.each(['events', 'sessions', 'reuse_incidents', 'replay_suspicions'])(
    'the auditor reads token_audit.%s',
    async (view) => {
      expect(
        await sqlStateOf(auditor.transactions.unsafe(`select * from token_audit.${view}`)),
      ).toBe('ok')
    },
  )

  test.each([
    'select from token_ledger.token_event',
    'select from token_ledger.token_family',
    'select from token_ledger.user_account',
    'select from token_ledger.signing_key',
    'select from token_ledger_migrations.applied',
    'select token_ledger.ensure_partitions(1)',
    'delete from token_audit.events',
    'insert into token_audit.sessions (family_id) values (gen_random_uuid())',
    'update token_audit.events set reason = reason',
    'create view token_audit.mine as select 1',
    'create table token_audit.mine ()',
  ])('the auditor may not %s', async (statement) => {
    // 55000: these views accept no writes from any role.
    expect([denied, '55000']).toContain(await sqlStateOf(auditor.transactions.unsafe(statement)))
  })

  test('RT-02, AD-02 (ASVS 15.3.1): the auditor sees no secret: no token hash, no salt, no password hash', async () => {
    const columns = await owner.ownerSql<{ column_name: string }[]>`
      select column_name from information_schema.columns where table_schema = 'token_audit'`
    const names = columns.map((column) => column.column_name)
    expect(
      names.filter((name) => /token_hash|salt|password|secret|sealed|attempt/.test(name)),
    ).toEqual([])
  })
})

function partitions() {
  return owner.ownerSql<{ name: string; is_events: boolean }[]>`
    select i.inhrelid::regclass::text as name,
      i.inhparent = 'token_ledger.token_event'::regclass as is_events
    from pg_inherits i
    where i.inhparent in ('token_ledger.token_event'::regclass, 'token_ledger.token_family'::regclass)
      and (select relkind from pg_class where oid = i.inhrelid) = 'r'
    order by 1`
}

test('a month that is made later has the guards of all others, and they are never asleep', async () => {
  await owner.ownerSql`select token_ledger.make_month(now() + interval '5 years')`
  const parts = await owner.ownerSql<{ parent: string; guards: string }[]>`
    select distinct
      i.inhparent::regclass::text as parent,
      (
        select string_agg(t.tgname || ' ' || t.tgenabled::text, ', ' order by t.tgname)
        from pg_trigger t
        where t.tgrelid = i.inhrelid and not t.tgisinternal
      ) as guards
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid and c.relkind = 'r'
    where i.inhparent = any(${tables}::regclass[])
    order by parent`
  // One row for each table: all its parts have the same.
  expect(parts.map(({ parent }) => parent)).toEqual(tables)
  for (const { guards } of parts) {
    expect(guards).toContain('refuse_truncate A')
    expect(guards).not.toMatch(/ [^A](,|$)/)
  }
  expect(parts[0]!.guards).toContain('check_chained A')
})
