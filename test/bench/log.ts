import { setTimeout as sleep } from 'node:timers/promises'
import { appendLeaves, readLogLag, readLogSize } from '../../db/evidence/log.ts'
import { startChild } from '../support/child.ts'
import { median } from '../support/median.ts'
import { ratio, type Bench, type BenchDatabase, type Line, type Row } from './bench.ts'
import type { RecomputedRoot } from './root-process.ts'

/** The log: what it costs rotations, how far it runs behind, and how long its root takes to compute again. */
export async function benchLog(bench: Bench): Promise<void> {
  await benchBesideRotation(bench)
  await benchRoot(bench, 1_000_000)
  if (bench.options.large) await benchRoot(bench, 10_000_000)
}

async function benchBesideRotation(bench: Bench): Promise<void> {
  const database = await bench.database('log')
  const fleet = { sessions: 5_120, eventsEach: 20, sessionsPerUser: 1 }
  const sessions = await bench.fleet(database, fleet)
  const takenIn = await takeIn(database)
  bench.facts['leaves taken in a second'] = takenIn
  bench.facts['bytes of a leaf'] = await bytesPerLeaf(database)
  const { url, child } = await bench.server('full', database)
  await bench.load.enlist('log', sessions)
  const job = { fleet: 'log', kind: 'rotate', url, connections: 64 } as const
  const beside = () => bench.measure(job, { name: 'rotation', child })

  const withLog: Line = { run: beside }
  const withoutLog: Line = {
    async run() {
      await database.sql`
        revoke execute on function token_ledger.append_leaves() from token_ledger_app`
      const row = await bench.measure(job, { name: 'rotation without the log', child })
      await database.sql`
        grant execute on function token_ledger.append_leaves() to token_ledger_app`
      await catchUp(database)
      return row
    },
  }
  await withLog.run()
  await catchUp(database)
  const [logged, unlogged] = await bench.rounds([withLog, withoutLog])
  const lags = await lagsWhile(database, beside())
  bench.facts['log behind under load, ms (median)'] = median(lags)
  bench.facts['CPU of a rotation, with ÷ without the log'] = median(
    logged!.map((row, round) => cpuOf(row) / cpuOf(unlogged![round]!)),
  )
  bench.targets.push(
    {
      name: 'rotation with ÷ without the log, 64 connections',
      value: ratio([logged!, unlogged!], 'perSecond'),
      atLeast: 0.97,
    },
    {
      name: 'leaves taken in ÷ rotations, a second',
      value: takenIn / median(logged!.map(({ perSecond }) => perSecond)),
      atLeast: 1,
    },
  )
}

/** Differs less from run to run than the rate, where other work shares the cores. */
const cpuOf = ({ nodeCpu, postgresCpu }: Row) => nodeCpu + postgresCpu

/** Appends all that is not in the log yet. Returns how many leaves a second. */
async function takeIn({ sql }: BenchDatabase): Promise<number> {
  const startedAt = performance.now()
  let leaves = 0
  for (let more = 1; more > 0; leaves += more) more = (await appendLeaves({ statements: sql })) ?? 0
  return leaves / ((performance.now() - startedAt) / 1_000)
}

async function bytesPerLeaf({ sql }: BenchDatabase): Promise<number> {
  const [row] = await sql<{ bytes: number }[]>`
    select (pg_total_relation_size('token_ledger.log_leaf') + pg_total_relation_size('token_ledger.log_node'))::float8
      / count(*) as bytes
    from token_ledger.log_leaf`
  return row!.bytes
}

/** Until the server's own sequencer has appended everything. */
async function catchUp({ sql }: BenchDatabase): Promise<void> {
  while ((await readLogLag({ statements: sql })) > 0) await sleep(50)
}

async function lagsWhile({ sql }: BenchDatabase, load: Promise<unknown>): Promise<number[]> {
  const lags: number[] = []
  const ended = new AbortController()
  void load.finally(() => ended.abort())
  while (!ended.signal.aborted) {
    lags.push(await readLogLag({ statements: sql }))
    await sleep(50)
  }
  await load
  return lags
}

/** The root of very many leaves, computed from the leaves alone, as `ledger verify --checkpoint` does. */
async function benchRoot(bench: Bench, leaves: number): Promise<void> {
  const named = `${leaves / 1e6} M leaves`
  const database = await bench.database(`root_${leaves}`)
  bench.say(`seeding ${leaves} leaves`)
  await database.sql`
    insert into token_ledger.log_leaf (leaf_index, action_id, txid, hash)
    select i, i, '3'::xid8, sha256(int8send(i)) from generate_series(0, ${leaves - 1}::bigint) i`
  await database.sql`vacuum analyze token_ledger.log_leaf`
  const child = startChild(new URL('root-process.ts', import.meta.url), {
    DATABASE_URL: database.url,
  })
  const { size, ms, heapAfterTenth, heapAfterAll }: RecomputedRoot = await child.call('root')
  await child.stop()
  if (size !== (await readLogSize({ statements: database.sql })))
    throw new Error(`the root is of ${size} leaves`)
  bench.facts[`seconds for the root of ${named}`] = ms / 1_000
  bench.targets.push({
    name: `heap after the root of ${named} ÷ after a tenth`,
    value: heapAfterAll / heapAfterTenth,
    atMost: 1.1,
  })
}
