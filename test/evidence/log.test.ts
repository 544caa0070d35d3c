import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import { fenced, inTransaction, type FencedTransaction } from '../../db/connection/transaction.ts'
import { readCheckedLeaves, readRowsWithoutLeaf } from '../../db/evidence/check.ts'
import { appendLeaves, type LogDatabase } from '../../db/evidence/log.ts'
import { hashLeaf, hashNode, rootOf, type Hash } from '../../server/evidence/merkle.ts'
import { publishLog } from '../../server/evidence/publish.ts'
import { startSequencer } from '../../server/evidence/sequencer.ts'
import { createCheckpointSigner, type LogIdentity } from '../../server/evidence/sign-checkpoints.ts'
import { storedSubtrees } from '../../server/evidence/stored-tiles.ts'
import { endSession } from '../../server/sessions/revocation.ts'
import { fillLedger } from '../support/filled-ledger.ts'
import { startLedger, testCaller, type TestLedger } from '../support/ledger.ts'
import { sqlStateOf } from '../support/ledger-rows.ts'
import { completeLog, logCounts, makeIdentity, strayLeaves } from '../support/log.ts'
import { waitFor } from '../support/wait.ts'

let ledger: TestLedger
const sql = () => ledger.owner.ownerSql

beforeAll(async () => {
  ledger = await startLedger()
})

afterAll(() => ledger[Symbol.asyncDispose]())

test('each event and each admin action becomes one leaf, in the order of the tail', async () => {
  const user = await ledger.makeUser()
  const session = await ledger.refresh(await ledger.start(user))
  const by = { reason: 'admin_revoked', actorUserId: user.id, caller: testCaller } as const
  const inSameTransaction = (transaction: FencedTransaction) =>
    insertAdminAction(transaction, { action: 'session_revoked', actorUserId: user.id })
  await endSession(ledger.deps, { familyId: session.familyId, inSameTransaction }, by)
  await completeLog(ledger.owner)
  expect(await strayLeaves(sql())).toEqual([])
  const leaves = await sql()`
    select seq, action_id is not null as is_action from token_ledger.log_leaf order by leaf_index`
  expect(leaves.map(({ seq, is_action }) => (is_action ? 'action' : seq))).toEqual([
    1,
    2,
    3,
    'action',
  ])
})

test('the nodes above the leaves are those of RFC 6962, at every size', async () => {
  await sql()`
    insert into token_ledger.admin_action (action) select 'user_created' from generate_series(1, 600)`
  const size = await completeLog(ledger.owner)
  expect(size).toBeGreaterThan(512)
  const rows = await sql()<{ hash: Buffer }[]>`
    select hash from token_ledger.log_leaf order by leaf_index`
  const leaves = rows.map(({ hash }) => hashLeaf(hash))
  for (const some of [1, 255, 256, 257, 512, size])
    expect(await rootOf(some, storedSubtrees(ledger.database, some))).toEqual(
      plainRoot(leaves.slice(0, some)),
    )
})

test('an event of a transaction that runs is not in the log until it is final, and nothing is left out', async () => {
  const user = await ledger.makeUser()
  await completeLog(ledger.owner)
  let release = () => {}
  const isHeld = new Promise<void>((resolve) => (release = resolve))
  const held = inTransaction(ledger.database.transactions, async (tx) => {
    await insertAdminAction(await fenced(tx), { action: 'user_created', actorUserId: null })
    await isHeld
  })
  await waitFor(async () => {
    const [waiting] = await sql()`
      select from pg_stat_activity where datname = current_database() and state = 'idle in transaction'`
    return waiting !== undefined
  })
  const before = await logCounts(sql())
  await ledger.start(user)
  await appendLeaves(ledger.database)
  // The sign-in came later than the transaction that still runs.
  expect((await logCounts(sql())).leaves).toBe(before.leaves)
  release()
  await held
  expect(await completeLog(ledger.owner)).toBe(before.leaves + 2)
  expect(await strayLeaves(sql())).toEqual([])
})

test('rows of a restored dump, which name transactions that this cluster has not reached, are taken in once', async () => {
  await using restored = await startLedger()
  const user = await restored.makeUser()
  const session = await restored.refresh(await restored.start(user))
  const { ownerSql } = restored.owner
  await ownerSql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`
    await tx`alter table token_ledger.token_event disable trigger refuse_update`
    await tx`
      update token_ledger.token_event
      set txid = (pg_current_xact_id()::text::bigint + 1000000000 + seq)::text::xid8`
    await tx`alter table token_ledger.token_event enable always trigger refuse_update`
  })
  expect(await completeLog(restored.owner)).toBe(2)
  await restored.refresh(session)
  await restored.start(user)
  expect(await completeLog(restored.owner)).toBe(4)
  expect(await strayLeaves(ownerSql)).toEqual([])
})

test('only one transaction appends at a time, and a process whose append fails goes on', async () => {
  await sql().begin(async (tx) => {
    await tx`select from token_ledger.turn where name = 'log' for update`
    expect(await appendLeaves(ledger.database)).toBeNull()
  })
  const warnings: unknown[] = []
  const log = { info: () => {}, warn: (_fields: unknown, line?: string) => warnings.push(line) }
  await sql()`alter function token_ledger.append_leaves() rename to gone`
  const sequencer = startSequencer(ledger.database, log as never, { pollMs: 10 })
  await waitFor(() => warnings.length > 0)
  await sql()`alter function token_ledger.gone() rename to append_leaves`
  await ledger.start(await ledger.makeUser())
  await waitFor(async () => {
    const { leaves, rows } = await logCounts(sql())
    return leaves === rows
  })
  await sequencer.close()
  expect(warnings).toEqual(['the log cannot be appended to'])
})

test('a log is published into an empty folder or over the log that it continues, and not over another', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'token-ledger-publish-'))
  const size = await completeLog(ledger.owner)
  const signed = (identity: LogIdentity) =>
    createCheckpointSigner(ledger.database, identity).current()
  const identity = makeIdentity()
  const publish = async () => publishLog(ledger.database, await signed(identity), folder)
  expect(await publish()).toBeGreaterThan(1)
  expect(await publish()).toBe(0)
  const file = join(folder, 'checkpoint')
  const note = readFileSync(file, 'utf8')
  const others = [
    note.replace(`\n${size}\n`, `\n${size + 1}\n`),
    note.replace(`\n${size}\n`, `\n${size - 1}\n`),
    note.replace(identity.origin, 'other.example/ledger'),
  ]
  for (const other of others) {
    writeFileSync(file, other)
    await expect(publish()).rejects.toThrow('the folder has a log that this one does not continue')
    expect(readFileSync(file, 'utf8')).toBe(other)
  }
  writeFileSync(file, 'nonsense')
  await expect(publish()).rejects.toThrow('this is no signed note')
})

test('the service may append, and change nothing of the log', async () => {
  const { statements: service } = ledger.database
  const denied = '42501'
  const appendOnly = 'TL001'
  for (const table of ['log_leaf', 'log_node', 'log_checkpoint']) {
    expect(await sqlStateOf(service.unsafe(`delete from token_ledger.${table}`))).toBe(denied)
    expect(await sqlStateOf(sql().unsafe(`truncate token_ledger.${table}`))).toBe(appendOnly)
  }
  expect(await sqlStateOf(sql()`update token_ledger.log_leaf set hash = hash`)).toBe(appendOnly)
  expect(await sqlStateOf(sql()`delete from token_ledger.log_node`)).toBe(appendOnly)
  expect(
    await sqlStateOf(service`
      insert into token_ledger.log_leaf (leaf_index, family_id, seq, txid, hash)
      values (9999, gen_random_uuid(), 1, '1', sha256('x'))`),
  ).toBe(denied)
})

test('the hash of an admin action is that of its list of fields (version 1), and continues the one before', async () => {
  const [hashed] = await sql()`
    select encode(token_ledger.admin_action_hash(row(
      7, '2026-01-31T09:00:00Z', '0190b5d2-0000-4000-8000-000000000001', 'role_set',
      '0190b5d2-0000-4000-8000-000000000002', null, 'admin', 'a reason', sha256('before'), null, null
    )::token_ledger.admin_action), 'hex') as hash`
  const field = (bytes: Buffer | null) => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(bytes?.length ?? -1)
    return Buffer.concat([length, bytes ?? Buffer.alloc(0)])
  }
  const number = (value: bigint) => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64BE(value)
    return bytes
  }
  const uuid = (text: string) => Buffer.from(text.replaceAll('-', ''), 'hex')
  const sinceMs = Date.parse('2026-01-31T09:00:00Z') - Date.parse('2000-01-01T00:00:00Z')
  const bytes = Buffer.concat([
    Buffer.from('token-ledger/admin-action/v1'),
    number(7n),
    createHash('sha256').update('before').digest(),
    field(number(BigInt(sinceMs) * 1000n)),
    field(uuid('0190b5d2-0000-4000-8000-000000000001')),
    field(Buffer.from('role_set')),
    field(uuid('0190b5d2-0000-4000-8000-000000000002')),
    field(null),
    field(Buffer.from('admin')),
    field(Buffer.from('a reason')),
  ])
  const expected = createHash('sha256').update(bytes).digest('hex')
  expect(hashed!.hash).toBe(expected)
  expect(expected).toBe(goldenActionHash)
  const broken = await sql()`
    select from (
      select hash, prev_hash, lag(hash) over (order by action_id) as before, token_ledger.admin_action_hash(a) as right_hash
      from token_ledger.admin_action a
    ) chained
    where prev_hash is distinct from before or hash <> right_hash`
  expect(broken.count).toBe(0)
})

const goldenActionHash = 'fdf2bbbdd44541d50abb35762d8aedeb55355684e5bcceec9decedd816e2f7a4'

/** RFC 6962 §2.1, word for word. */
function plainRoot(leaves: readonly Hash[]): Hash {
  const [only] = leaves
  if (leaves.length === 1 && only !== undefined) return only
  const middle = 2 ** Math.ceil(Math.log2(leaves.length) - 1)
  return hashNode(plainRoot(leaves.slice(0, middle)), plainRoot(leaves.slice(middle)))
}

test('tables that have no statistics yet are not read as a whole for each batch', async () => {
  await using fresh = await startLedger()
  const { ownerSql } = fresh.owner
  const { id: userId } = await fresh.makeUser()
  await fillLedger(ownerSql, { userId, families: 3_000 })
  const rowsRead = async () => {
    await ownerSql`select pg_stat_force_next_flush()`
    const [read] = await ownerSql`
      select sum(seq_tup_read)::int as rows from pg_stat_user_tables
      where relname like 'token_event%' or relname like 'log_%'`
    return read!.rows as number
  }
  const before = await rowsRead()
  while (((await appendLeaves({ statements: ownerSql })) ?? 0) > 0);
  expect((await rowsRead()) - before).toBe(0)

  await ownerSql`set plan_cache_mode = force_generic_plan`
  const eventsRead = async (read: (database: LogDatabase) => Promise<unknown>) => {
    const fetched = async () => {
      await ownerSql`select pg_stat_force_next_flush()`
      const [sum] = await ownerSql`
        select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int as rows from pg_stat_user_tables
        where relname like 'token_event%'`
      return sum!.rows as number
    }
    const earlier = await fetched()
    await read({ statements: ownerSql })
    return (await fetched()) - earlier
  }
  expect(await eventsRead((all) => readRowsWithoutLeaf(all, 1_000, 500))).toBeLessThan(20_000)
  const leaves = { first: 4_000, count: 100 }
  expect(await eventsRead((all) => readCheckedLeaves(all, leaves))).toBeLessThan(1_000)
})
