import {
  closeSync,
  fdatasyncSync,
  mkdtempSync,
  chmodSync,
  openSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres, { type Sql } from 'postgres'
import { migrate } from '../../db/migrate.ts'
import { usualRoles } from '../../db/roles.ts'
import { startEmbeddedPostgres } from '../../server/embedded-postgres/start.ts'
import { asAdmin, databaseUrl } from '../support/admin.ts'
import { freePort } from '../support/server.ts'
import { seedFleet, type Fleet } from './fleet.ts'
import type { Job, JobResult, BenchSession } from './load.ts'
import {
  startLoad,
  startBenchServer,
  startStore,
  type LoadGenerator,
  type Server,
  type ServerKind,
} from './processes.ts'
import type { Child } from '../support/child.ts'
import { median } from '../support/median.ts'
import { cpuSecondsOf, mainThreadSecondsOf, postgresCpuSeconds } from '../support/process-usage.ts'

export type Row = {
  readonly name: string
  readonly connections: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Seconds of CPU for 1,000 answers. */
  readonly nodeCpu: number
  /** The part of `nodeCpu` on the main thread, which bounds what one process can answer. */
  readonly mainThreadCpu: number
  readonly postgresCpu: number
  readonly loadCpu: number
}

export type BenchTarget = {
  readonly name: string
  readonly value: number
  readonly atLeast?: number
  readonly atMost?: number
}

export type BenchDatabase = { readonly url: string; readonly sql: Sql }

export type BenchOptions = {
  readonly seconds: number
  readonly rounds: number
  readonly large: boolean
}

/** What every part of the benchmark uses. */
export type Bench = {
  readonly options: BenchOptions
  readonly rows: Row[]
  readonly targets: BenchTarget[]
  readonly facts: Record<string, number>
  readonly load: LoadGenerator
  say(line: string): void
  database(name: string): Promise<BenchDatabase>
  fleet(database: BenchDatabase, fleet: Fleet): Promise<BenchSession[]>
  server(kind: ServerKind, database: BenchDatabase): Promise<Server>
  store(database: BenchDatabase): Promise<LoadGenerator>
  /** One run with its cost. `rounds` makes rows of such runs. */
  measure(job: Omit<Job, 'seconds'> & { seconds?: number }, at: Measured): Promise<Row>
  /** Compares the clients' tokens with the ledger and verifies their access tokens. */
  checkFleet(fleet: string, database: BenchDatabase, server: Server): Promise<void>
  /** Runs all lines in turn, as often as the options say, and keeps the medians as rows. */
  rounds(lines: readonly Line[]): Promise<Row[][]>
  stop(): Promise<void>
}

export type Measured = {
  readonly name: string
  readonly child: Child
  readonly load?: LoadGenerator
}
export type Line = { readonly run: () => Promise<Row> }

export async function createBench(options: BenchOptions): Promise<Bench> {
  const dataDir = mkdtempSync(join(tmpdir(), 'token-ledger-bench-'))
  // Also for the user as whom Postgres runs when root starts it. The files inside stay closed to others.
  chmodSync(dataDir, 0o711)
  // The default settings, durability included; only the number of connections is raised.
  const store = await startEmbeddedPostgres({ dataDir, settings: { max_connections: '200' } })
  const children: Child[] = []
  const pools: Sql[] = []
  const load = startLoad()
  children.push(load.child)

  const bench: Bench = {
    options,
    rows: [],
    targets: [],
    facts: { durableWriteMs: durableWriteMs(dataDir) },
    load,
    say: (line) => console.error(line),
    async database(name) {
      await asAdmin(store.url, (admin) => admin`create database ${admin(name)}`)
      const url = databaseUrl(store.url, name)
      // The processes connect with these names.
      await migrate(url, { roles: usualRoles })
      const sql = postgres(url, { max: 1, onnotice: () => {} })
      pools.push(sql)
      return { url, sql }
    },
    async fleet({ sql }, fleet) {
      bench.say(`seeding ${fleet.sessions * fleet.eventsEach} events`)
      return seedFleet(sql, fleet)
    },
    async server(kind, { url }) {
      const server = await startBenchServer(kind, { databaseUrl: url, port: await freePort() })
      children.push(server.child)
      return server
    },
    async store({ url }) {
      const made = await startStore(url)
      children.push(made.child)
      return made
    },
    async measure(job, { name, child, load: by = load }) {
      const before = usage()
      const result = await by.run({ seconds: options.seconds, ...job })
      const after = usage()
      return rowOf(
        { name, connections: job.connections },
        result,
        (key) => after[key] - before[key],
      )

      function usage() {
        const isOwnLoad = by.child === child
        return {
          node: cpuSecondsOf(child.pid),
          mainThread: mainThreadSecondsOf(child.pid),
          postgres: postgresCpuSeconds(dataDir),
          load: isOwnLoad ? 0 : cpuSecondsOf(by.child.pid),
        }
      }
    },
    async checkFleet(fleet, { sql }, { url }) {
      await load.child.call('checkAccessTokens', { fleet, url })
      const held: { familyId: string; generation: number }[] = await load.child.call('held', fleet)
      const ids = held.map(({ familyId }) => familyId)
      const rows = await sql<{ family_id: string; generation: number }[]>`
        select family_id, max(generation)::int as generation
        from token_ledger.token_event
        where family_id = any(${ids}::uuid[])
        group by family_id`
      const kept = new Map(rows.map((row) => [row.family_id, row.generation]))
      for (const { familyId, generation } of held)
        if (kept.get(familyId) !== generation)
          throw new Error(
            `family ${familyId}: its client holds generation ${generation}, the ledger ${kept.get(familyId)}`,
          )
    },
    async rounds(lines) {
      const made: Row[][] = lines.map(() => [])
      for (let round = 1; round <= options.rounds; round++) {
        for (const [i, line] of lines.entries()) {
          const row = await line.run()
          bench.say(
            `  round ${round}: ${row.name} @${row.connections}: ${row.perSecond.toFixed(0)}/s`,
          )
          made[i]!.push(row)
        }
      }
      bench.rows.push(...made.map(middleOf))
      return made
    },
    async stop() {
      for (const child of children) await child.stop()
      for (const sql of pools) await sql.end({ timeout: 1 })
      await store.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
  return bench
}

function rowOf(
  named: { name: string; connections: number },
  result: JobResult,
  used: (key: 'node' | 'mainThread' | 'postgres' | 'load') => number,
): Row {
  const per1000 = (seconds: number) => (seconds / result.count) * 1000
  return {
    ...named,
    perSecond: result.count / result.seconds,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    nodeCpu: per1000(used('node')),
    mainThreadCpu: per1000(used('mainThread')),
    postgresCpu: per1000(used('postgres')),
    loadCpu: per1000(used('load')),
  }
}

/** A row of the medians of each number. */
export function middleOf(rows: readonly Row[]): Row {
  const of = (key: Exclude<keyof Row, 'name'>) => median(rows.map((row) => row[key]))
  return {
    name: rows[0]!.name,
    connections: rows[0]!.connections,
    perSecond: of('perSecond'),
    p50Ms: of('p50Ms'),
    p99Ms: of('p99Ms'),
    nodeCpu: of('nodeCpu'),
    mainThreadCpu: of('mainThreadCpu'),
    postgresCpu: of('postgresCpu'),
    loadCpu: of('loadCpu'),
  }
}

/** The median over the rounds of the ratio of two numbers of the same round. */
export function ratio(
  [ones, others]: readonly [readonly Row[], readonly Row[]],
  key: 'perSecond' | 'p50Ms' | 'p99Ms' | 'postgresCpu',
): number {
  return median(ones.map((row, round) => row[key] / others[round]![key]))
}

/** What one small durable write costs here: below a millisecond, durability is nearly free. */
function durableWriteMs(folder: string): number {
  const file = openSync(join(folder, 'durable'), 'w')
  const page = Buffer.alloc(8192, 1)
  const times = Array.from({ length: 50 }, () => {
    const startedAt = performance.now()
    writeSync(file, page)
    fdatasyncSync(file)
    return performance.now() - startedAt
  })
  closeSync(file)
  return median(times)
}
