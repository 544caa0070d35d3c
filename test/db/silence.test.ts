import { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { inTransaction } from '../../db/connection/transaction.ts'
import { isUnavailable } from '../../db/connection/errors.ts'
import { freshDatabase } from '../support/database.ts'
import { startDatabaseWire, type Lost } from '../support/wire.ts'

/** Of a service: 12 s. */
const answerWithinMs = 1_500

test.each<Lost>(['requests', 'answers', 'both'])(
  'when packets are lost silently (%s), the statement is given up and the next runs on a new connection',
  async (lost) => {
    await using line = await startLine()
    const { database, wire } = line
    wire.lose(lost)
    wire.mend()
    const askedAt = performance.now()
    const error = await database.transactions`select 1`.catch((reason: unknown) => reason)
    // Not before the answer could have come: a slow statement is not a lost one.
    expect(performance.now() - askedAt).toBeGreaterThanOrEqual(answerWithinMs - 50)
    expect(isUnavailable(error)).toBe(true)
    // The connections of the other pool are lost as well, and need not find that out for themselves.
    const againAt = performance.now()
    expect(await database.statements`select 2 as two`).toEqual([{ two: 2 }])
    expect(await inTransaction(database.transactions, (tx) => tx`select 3 as three`)).toEqual([
      { three: 3 },
    ])
    expect(performance.now() - againAt).toBeLessThan(answerWithinMs)
  },
)

test('a transaction whose packets are lost fails as unavailable and leaves nothing behind', async () => {
  await using line = await startLine()
  const { database, wire, ownerSql } = line
  await ownerSql`create table public.kept (at integer)`
  const lost = inTransaction(database.transactions, async (tx) => {
    await tx`insert into public.kept values (1)`
    wire.lose('both')
    wire.mend()
    await tx`insert into public.kept values (2)`
  })
  expect(isUnavailable(await lost.catch((reason: unknown) => reason))).toBe(true)
  expect(await ownerSql`select at from public.kept`).toEqual([])
})

test('a slow statement that still answers and an idle connection are left alone', async () => {
  await using line = await startLine()
  const { database } = line
  const before = await pidsOf(line)
  const rows = database.transactions.begin(async (tx) => {
    let found = 0
    for await (const [row] of tx<{ at: number }[]>`
      select at, pg_sleep(0.5) from generate_series(1, 5) at`.cursor(1))
      found += row?.at ?? 0
    return found
  })
  expect(await rows).toBe(15)
  await new Promise((resolve) => setTimeout(resolve, 2 * answerWithinMs))
  expect(await pidsOf(line)).toEqual(before)
})

test('a LISTEN connection whose packets are lost is destroyed when it is closed', async () => {
  await using line = await startLine()
  const { database, wire } = line
  const before = socketsTo(wire)
  const toListen = database.openListener(() => {})
  await toListen.query((sql) => sql`listen nothing`, answerWithinMs)
  const listening = socketsTo(wire).find((socket) => !before.includes(socket))
  expect(listening?.destroyed).toBe(false)
  // No traffic for longer than an answer may take.
  await new Promise((resolve) => setTimeout(resolve, 2 * answerWithinMs))
  await toListen.query((sql) => sql`select 1`, answerWithinMs)
  wire.lose('both')
  await expect(toListen.query((sql) => sql`select 2`, 500)).rejects.toThrow(
    'the connection was lost',
  )
  // Without an answer from the other end, which would have to confirm that the socket closes.
  await expect.poll(() => listening?.destroyed).toBe(true)
})

async function startLine() {
  const owner = await freshDatabase()
  const wire = await startDatabaseWire(owner.url)
  const database = connect(wire.url, { maxConnections: 3, answerWithinMs })
  await Promise.all([database.transactions`select 1`, database.statements`select 1`])
  return {
    database,
    wire,
    ownerSql: owner.ownerSql,
    async [Symbol.asyncDispose]() {
      await database.close()
      await wire[Symbol.asyncDispose]()
      await owner[Symbol.asyncDispose]()
    },
  }
}

async function pidsOf({ ownerSql }: Awaited<ReturnType<typeof startLine>>): Promise<number[]> {
  const rows = await ownerSql<{ pid: number }[]>`
    select pid from pg_stat_activity
    where datname = current_database() and application_name = 'token-ledger'
    order by pid`
  return rows.map(({ pid }) => pid)
}

/** The sockets of this process that lead through the wire. */
function socketsTo({ port }: { readonly port: number }): Socket[] {
  const handles = Reflect.get(process, '_getActiveHandles') as () => unknown[]
  return handles
    .call(process)
    .filter((handle) => handle instanceof Socket)
    .filter(({ remotePort }) => remotePort === port)
}
