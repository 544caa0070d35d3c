import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import type { FencedTransaction } from '../../db/connection/transaction.ts'
import { readRowsWithoutLeaf, type LoggedRow } from '../../db/evidence/check.ts'
import { archiveLedger } from '../../server/audit/archive.ts'
import type { Checkpoint } from '../../server/evidence/checkpoint.ts'
import { createCheckpointSigner, verifierKeyOf } from '../../server/evidence/sign-checkpoints.ts'
import { verifyLog } from '../../server/evidence/verify-log.ts'
import { endSession } from '../../server/sessions/revocation.ts'
import { moveClock, stopClock } from '../support/clock.ts'
import { makeMonth, startLedger, testCaller, type TestLedger } from '../support/ledger.ts'
import { completeLog, makeIdentity, whileTampered } from '../support/log.ts'

const identity = makeIdentity()
const keys = [verifierKeyOf(identity)]

let ledger: TestLedger
let kept: Checkpoint
let family: string
let size: number

/** A family of three events, an admin action and two more families, then a checkpoint that an outsider keeps. */
beforeAll(async () => {
  ledger = await startLedger()
  const user = await ledger.makeUser()
  await makeMonth(ledger.owner, '202601')
  await stopClock(ledger.owner.ownerSql, Date.UTC(2026, 0, 10))
  await ledger.start(user)
  await moveClock(ledger.owner.ownerSql, 0)
  const session = await ledger.refresh(await ledger.start(user))
  family = session.familyId
  const inSameTransaction = (transaction: FencedTransaction) =>
    insertAdminAction(transaction, { action: 'session_revoked', actorUserId: user.id })
  const by = { reason: 'admin_revoked', actorUserId: user.id, caller: testCaller } as const
  await endSession(ledger.deps, { familyId: family, inSameTransaction }, by)
  await ledger.start(user)
  await ledger.start(user)
  size = await completeLog(ledger.owner)
  kept = await createCheckpointSigner(ledger.database, identity).current()
})

afterAll(() => ledger[Symbol.asyncDispose]())

const problemsAfter = (statements: string) =>
  whileTampered(ledger.owner, statements.replaceAll('%FAMILY%', family), async (database) => {
    const { problems } = await verifyLog(database, kept, keys)
    return problems.map((line) =>
      line.replace(family, 'FAMILY').replaceAll(/[0-9a-f-]{36}/g, 'OTHER'),
    )
  })

const event = (seq: number) => `where family_id = '%FAMILY%' and seq = ${seq}`

/** Changes the time of an event within what the rules allow, and computes its whole chain again. */
const rehashed = `
  update token_ledger.token_event set token_hash = sha256('another') ${event(2)};
  update token_ledger.token_event e set hash = token_ledger.event_hash(e) ${event(2)};
  update token_ledger.token_event e
  set prev_hash = (select hash from token_ledger.token_event ${event(2)}) ${event(3)};
  update token_ledger.token_event e set hash = token_ledger.event_hash(e) ${event(3)};`

const swapped = (a: number, b: number) => `
  create temp table swapped as select * from token_ledger.log_leaf where leaf_index in (${a}, ${b});
  delete from token_ledger.log_leaf where leaf_index in (${a}, ${b});
  update swapped set leaf_index = ${a + b} - leaf_index;
  insert into token_ledger.log_leaf select * from swapped;
  drop table swapped;`

test('LE-29: an untouched ledger agrees with the kept checkpoint', async () => {
  expect(await verifyLog(ledger.database, kept, keys)).toEqual({ leaves: size, problems: [] })
})

test('rows without a leaf are found on the first, a middle and the last page', async () => {
  const added = `
    insert into token_ledger.token_event (family_id, seq, kind, generation, occurred_at, reason, origin_hash, hash, txid)
    select f.family_id, added, 'revoked', 0, f.created_at, 'logout', e.origin_hash, e.hash, e.txid
    from token_ledger.token_family f, generate_series(11, 13) added, token_ledger.token_event e
    where e.family_id = '${family}' and e.seq = 1;
    insert into token_ledger.admin_action (action_id, action, txid, hash) overriding system value
    select id, action, (txid::text::bigint - 1)::text::xid8, hash
    from token_ledger.admin_action, unnest(array[-1, 0, 77, 78]) id`
  await whileTampered(ledger.owner, added, async (database) => {
    const sql = database.statements as unknown as { unsafe: (text: string) => Promise<unknown> }
    const expected = await sql.unsafe(
      `select family_id as "familyId", seq, null as "actionId" from token_ledger.token_event where seq > 10
       order by family_id, seq`,
    )
    const actions = [-1, 0, 77, 78].map((actionId) => ({ familyId: null, seq: null, actionId }))
    const all = [...(expected as LoggedRow[]), ...actions]
    for (const rows of [1, 2, 3, 5, 18, 19, 5_000])
      expect([rows, await readRowsWithoutLeaf(database, 1_000, rows)]).toEqual([rows, all])
    expect(await readRowsWithoutLeaf(database, 4, 3)).toEqual(all.slice(0, 4))
  })
})

test.each([
  [
    'a changed column',
    `update token_ledger.token_event set generation = 7 ${event(2)}`,
    ['FAMILY  event 2  is not the one in the log (leaf 2)'],
  ],
  [
    'a chain that was computed again after a change',
    rehashed,
    ['FAMILY  event 2  is not the one in the log (leaf 2)'],
  ],
  [
    'the end of a family cut off',
    `delete from token_ledger.token_event ${event(3)}`,
    ['FAMILY  event 3  is missing (leaf 3)'],
  ],
  [
    'a family removed',
    `delete from token_ledger.token_event where family_id = '%FAMILY%';
     delete from token_ledger.token_family where family_id = '%FAMILY%'`,
    ['FAMILY  event 1  is missing (leaf 1)'],
  ],
  [
    'a whole partition removed, without the record of an archive',
    `drop table token_ledger.token_event_202601; drop table token_ledger.token_family_202601`,
    ['OTHER  event 1  is missing (leaf 0)'],
  ],
  [
    'an admin action removed',
    `delete from token_ledger.admin_action`,
    ['admin action 1  is missing (leaf 4)'],
  ],
  [
    'an admin action changed',
    `update token_ledger.admin_action set reason = 'another'`,
    ['admin action 1  is not the one in the log (leaf 4)'],
  ],
  [
    'the newest leaves removed',
    `delete from token_ledger.log_leaf where leaf_index >= 5`,
    ['the log has 5 leaves; the checkpoint has 7'],
  ],
  [
    'a leaf removed from the middle',
    `delete from token_ledger.log_leaf where leaf_index = 2`,
    ['leaf 2 is missing'],
  ],
  [
    'an event added to a family of before',
    `insert into token_ledger.token_event (family_id, seq, kind, generation, occurred_at, reason, origin_hash, prev_hash, hash, txid)
     select family_id, 2, 'revoked', 0, occurred_at, 'logout', origin_hash, hash, hash, txid
     from token_ledger.token_event where kind = 'issued' and family_id > '%FAMILY%' order by family_id limit 1;
     update token_ledger.token_event e set hash = token_ledger.event_hash(e) where seq = 2 and family_id > '%FAMILY%'`,
    ['OTHER  event 2  is not in the log'],
  ],
  [
    'an admin action added among those of before',
    `insert into token_ledger.admin_action (action_id, action, txid, hash) overriding system value
     select 77, action, (txid::text::bigint - 1)::text::xid8, hash from token_ledger.admin_action`,
    ['admin action 77  is not in the log'],
  ],
  ['two leaves swapped', swapped(1, 5), ['leaves 0 to 6 are not those that were signed']],
  [
    'a chain computed again together with its leaves',
    `${rehashed}
     update token_ledger.log_leaf l set hash = e.hash
     from token_ledger.token_event e where e.family_id = l.family_id and e.seq = l.seq`,
    ['leaves 0 to 6 are not those that were signed'],
  ],
  [
    'a chain computed again together with its leaves, where the ledger keeps no checkpoint',
    `${rehashed}
     update token_ledger.log_leaf l set hash = e.hash
     from token_ledger.token_event e where e.family_id = l.family_id and e.seq = l.seq;
     delete from token_ledger.log_checkpoint`,
    ['leaves 0 to 6 are not those that were signed'],
  ],
])('one kept checkpoint and one key find %s', async (_what, statements, expected) => {
  expect(await problemsAfter(statements)).toEqual(expected)
})

/** Erasable columns are under the salted hash `origin_hash`; the chain has the rest, which `ledger verify` checks too. */
const notInHash = ['family_id', 'seq', 'ip', 'user_agent', 'origin_salt', 'hash', 'txid']

test('a change of any column of an event is found, also where no constraint is left', async () => {
  const columns = await ledger.owner.ownerSql<Column[]>`
    select attname as name, atttypid::regtype::text as type, attnotnull as "isRequired"
    from pg_attribute
    where attrelid = 'token_ledger.token_event'::regclass and attnum > 0 and not attisdropped
      and attname <> all(${notInHash})`
  expect(columns.length).toBeGreaterThan(15)
  const constraints = `
    do $$ declare c text; begin
      for c in select conname from pg_constraint
        where conrelid = 'token_ledger.token_event'::regclass and contype = 'c' loop
        execute format('alter table token_ledger.token_event drop constraint %I', c);
      end loop;
    end $$`
  const found = await whileTampered(ledger.owner, constraints, async (database) => {
    const sql = database.statements as unknown as { unsafe: (text: string) => Promise<unknown> }
    const problems: Record<string, readonly string[]> = {}
    for (const column of columns) {
      await sql.unsafe(`savepoint before`)
      await sql.unsafe(
        `update token_ledger.token_event set ${column.name} = ${changed(column)} ${event(2)}`.replace(
          '%FAMILY%',
          family,
        ),
      )
      problems[column.name] = (await verifyLog(database, kept, keys)).problems
      await sql.unsafe('rollback to savepoint before')
    }
    return problems
  })
  const expected = [`${family}  event 2  is not the one in the log (leaf 2)`]
  expect(found).toEqual(Object.fromEntries(columns.map(({ name }) => [name, expected])))
})

type Column = { name: string; type: string; isRequired: boolean }

function changed({ name, type, isRequired }: Column): string {
  const values: Record<string, string> = {
    bytea: `sha256('x')`,
    integer: `coalesce(${name}, 0) + 1`,
    text: `'x'`,
    'text[]': `array['x']`,
    'timestamp with time zone': `coalesce(${name}, now()) + interval '1 ms'`,
    uuid: 'gen_random_uuid()',
  }
  const other = values[type] ?? expect.fail(`no value of type ${type}`)
  return isRequired ? other : `case when ${name} is null then ${other} end`
}

test('an erased person changes no leaf and no root', async () => {
  const found = await whileTampered(
    ledger.owner,
    `update token_ledger.token_event set ip = null, user_agent = null, origin_salt = null;
     update token_ledger.token_family set device_name = null`,
    (database) => verifyLog(database, kept, keys),
  )
  expect(found.problems).toEqual([])
})

test('an archived month keeps its leaves, and the record of the archive says where its events are', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'token-ledger-evidence-')), 'archive.jsonl')
  const { ownerSql } = ledger.owner
  const archived = await archiveLedger(ownerSql, { beforeAt: Date.UTC(2026, 1, 1), file })
  expect(archived).toMatchObject({ months: ['202601'], families: 1 })
  expect((await verifyLog(ledger.database, kept, keys)).problems).toEqual([])
})

test('a month with events that are not in the log is not archived before they are', async () => {
  await using fresh = await startLedger()
  await makeMonth(fresh.owner, '202601')
  await stopClock(fresh.owner.ownerSql, Date.UTC(2026, 0, 10))
  await fresh.start(await fresh.makeUser())
  await moveClock(fresh.owner.ownerSql, 0)
  const file = join(mkdtempSync(join(tmpdir(), 'token-ledger-evidence-')), 'archive.jsonl')
  await archiveLedger(fresh.owner.ownerSql, { beforeAt: Date.UTC(2026, 1, 1), file })
  const leaves = await fresh.owner.ownerSql`select seq from token_ledger.log_leaf`
  expect(leaves).toEqual([{ seq: 1 }])
})
