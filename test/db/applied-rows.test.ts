import type { TransactionSql } from 'postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { sqlStateOf } from '../support/ledger-rows.ts'
import { startLedger, type TestLedger } from '../support/ledger.ts'

const illegal = 'TL002'

/** A ledger with a history, and a migrated database to which its rows come. */
let ledger: TestLedger
let copy: FreshDatabase
let families: any[]
let events: any[]
beforeAll(async () => {
  ledger = await startLedger()
  copy = await freshDatabase()
  const { ownerSql } = ledger.owner
  const erased = await ledger.makeUser()
  await ledger.refresh(await ledger.start(erased))
  const spent = await ledger.start(await ledger.makeUser())
  const { token } = await ledger.refresh(spent)
  await ledger.refresh({ ...spent, token })
  await ledger.refresh(spent).catch(() => 'the reuse that it is')
  await ownerSql`select token_ledger.erase_traces(${erased.id})`
  families = await ownerSql`select * from token_ledger.token_family order by family_id`
  events = await ownerSql`select * from token_ledger.token_event order by family_id, seq`
})
afterAll(async () => {
  await copy[Symbol.asyncDispose]()
  await ledger[Symbol.asyncDispose]()
})

/** Runs `work` as the worker of a replica does, and rolls it back. */
async function applying<T>(work: (tx: TransactionSql) => Promise<T>): Promise<T> {
  let result: { value: T } | undefined
  await copy.ownerSql
    .begin(async (tx) => {
      await tx`set local session_replication_role = replica`
      result = { value: await work(tx) }
      throw new Error('rolled back')
    })
    .catch((error: Error) => {
      if (error.message !== 'rolled back') throw error
    })
  return result!.value
}

async function insert(tx: TransactionSql, rows: readonly any[]): Promise<void> {
  for (const row of rows) await tx`insert into token_ledger.token_event ${tx(row)}`
}

const rowsOf = (tx: TransactionSql | FreshDatabase['ownerSql']) =>
  tx`select e::text as row from token_ledger.token_event e order by family_id, seq`

describe('rows that a primary decided', () => {
  const orders: [string, <T>(rows: T[]) => T[]][] = [
    ['in order', (rows) => rows],
    ['backwards', (rows) => rows.toReversed()],
    ['in the order of the disk', (rows) => [...rows.slice(3), ...rows.slice(0, 3)]],
  ]
  test.each(orders)('are applied byte for byte, %s, erased ones too', async (_name, inOrder) => {
    const [applied, verified] = await applying(async (tx) => {
      await insert(tx, inOrder(events))
      for (const family of families) await tx`insert into token_ledger.token_family ${tx(family)}`
      return [
        await rowsOf(tx),
        await tx`select * from token_ledger.check_families(
        '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        where problem is not null`,
      ]
    })
    expect(applied).toEqual(await rowsOf(ledger.owner.ownerSql))
    expect(verified).toHaveLength(0)
  })

  test.each<[string, object]>([
    ['another content than was hashed', { generation: 1, presented_generation: null }],
    ['another hash', { hash: Buffer.alloc(32) }],
    ['another address than was hashed', { ip: '192.0.2.77' }],
    ['an address without its salt', { origin_salt: null }],
  ])('are refused with %s', async (_name, change) => {
    const tampered = { ...events.at(-1), ...change }
    const answer = await applying((tx) => sqlStateOf(insert(tx, [tampered])))
    expect(answer).toBe(illegal)
  })

  test('are refused beside an event of another history, whichever comes first', async () => {
    const [before, after] = events.slice(-2)
    const [first, second] = await applying(async (tx) => {
      const forged = await forge(tx, before)
      const pairs = [
        [forged, after],
        [after, forged],
      ]
      const answers: string[] = []
      for (const [there, comes] of pairs) {
        await tx`savepoint pair`
        await insert(tx, [there])
        await tx`savepoint there`
        answers.push(await sqlStateOf(insert(tx, [comes])))
        await tx`rollback to savepoint pair`
      }
      return answers
    })
    expect([first, second]).toEqual([illegal, illegal])
  })

  test('leave to replication what triggers make of them elsewhere', async () => {
    const made = await applying(async (tx) => {
      await insert(tx, events)
      return tx`select from token_ledger.open_family`
    })
    expect(made).toHaveLength(0)
  })

  test('may bring turns that the migrations made, and keep the numbers of admin_action going', async () => {
    const next = await applying(async (tx) => {
      await tx`insert into token_ledger.turn (name) values ('partitions')`
      await tx`
        insert into token_ledger.admin_action (action_id, action, hash) overriding system value
        values (41, 'user_created', sha256('a')), (7, 'user_created', sha256('b'))`
      await tx`set local session_replication_role = origin`
      return tx`
        insert into token_ledger.admin_action (action) values ('user_created') returning action_id::integer`
    })
    expect(next).toEqual([{ action_id: 42 }])
  })
})

describe('without the role of a replica', () => {
  test('a row with another hash than it gets is refused, and gets the transaction of its own', async () => {
    const { ownerSql } = copy
    const [first] = events
    const later = ownerSql`insert into token_ledger.token_event ${ownerSql(events[1])}`
    expect(await sqlStateOf(later)).toBe(illegal)
    const family = families.find(({ family_id: id }) => id === first.family_id)
    const write = (change: object) =>
      ownerSql.begin(async (tx) => {
        await tx`insert into token_ledger.token_family ${tx(family)}`
        return tx`
          insert into token_ledger.token_event ${tx({ ...first, ...change })}
          returning txid = pg_current_xact_id() as has_own_txid`
      })
    expect(await sqlStateOf(write({ txid: '1' }))).toBe(illegal)
    expect(await sqlStateOf(write({ hash: Buffer.alloc(32) }))).toBe(illegal)
    const [written] = await write({ hash: null, txid: '1' })
    expect(written!.has_own_txid).toBe(true)
  })

  test('a plain owner cannot take that role', async () => {
    const taken = copy.ownerSql.begin(async (tx) => {
      await tx`create role plain_owner_of_a_copy`
      await tx`set local role plain_owner_of_a_copy`
      await tx`set local session authorization plain_owner_of_a_copy`
      await tx`set local session_replication_role = replica`
    })
    expect(await sqlStateOf(taken)).toBe('42501')
  })

  test('a service on a database that is set to it writes as ever', async () => {
    const service = await startLedger()
    const { ownerSql } = service.owner
    await ownerSql.unsafe(`do $$ begin
      execute format('alter database %I set session_replication_role = replica', current_database());
    end $$`)
    await using ledgerUnderIt = await startLedger({}, service)
    const session = await ledgerUnderIt.start(await ledgerUnderIt.makeUser())
    await ledgerUnderIt.refresh(session)
    expect(await ownerSql`select from token_ledger.open_family`).toHaveLength(1)
    expect(await ownerSql`select * from token_audit.verify_ledger()`).toHaveLength(0)
    // Whatever that login sets: what it writes is judged.
    const [login] = await ownerSql.begin(async (tx) => {
      await tx`set local session_replication_role = replica`
      await tx`set local role token_ledger_app`
      await tx`set local token_ledger.appends = ''`
      return tx`
        select current_setting('session_replication_role') as role, token_ledger.is_applying() as is_applying`
    })
    expect(login).toEqual({ role: 'replica', is_applying: false })
    await service[Symbol.asyncDispose]()
  })
})

/** The event as another history has it: a second earlier, with the right hash. */
async function forge(tx: TransactionSql, event: any) {
  await tx`create temp table forged (like token_ledger.token_event) on commit drop`
  await tx`insert into forged ${tx(event)}`
  await tx`update forged set occurred_at = occurred_at - interval '1 second'`
  const [forged] = await tx`
    update forged f set hash = token_ledger.event_hash(row(f.*)::token_ledger.token_event) returning *`
  return forged
}
