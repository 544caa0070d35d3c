import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { auth } from '../support/http.ts'
import { childrenOf, postmasterPidIn } from '../support/owner-process.ts'
import { testPassword } from '../support/users.ts'
import type { Lost } from '../support/wire.ts'
import type { Rig } from './rig.ts'

export type Fault = {
  readonly name: string
  /** After the fault, every client is served again within this time, without help. */
  readonly recoversWithinMs: number
  /** Left to the long tests. */
  readonly takesLong?: true
  /** @returns when it was over (`performance.now`) */
  readonly inflict: (rig: Rig) => Promise<number>
}

/** The time until silence is noticed (12 s), for the newest request, and for a new connection. */
const halfOpenMs = 30_000

/** The fault table of docs/guides/recover.md, row by row. */
export const faults: readonly Fault[] = [
  { name: 'the server is killed', recoversWithinMs: 15_000, inflict: killServer },
  { name: 'the database is killed', recoversWithinMs: 30_000, inflict: killDatabase },
  { name: 'a backend is killed', recoversWithinMs: 30_000, inflict: killBackend },
  { name: 'clients are cut off in mid-request', recoversWithinMs: 15_000, inflict: snap('line') },
  { name: 'connections are cut in mid-query', recoversWithinMs: 15_000, inflict: snap('wire') },
  { name: 'the database is out of reach', recoversWithinMs: 15_000, inflict: cutWire },
  { name: 'the wire is slow', recoversWithinMs: 15_000, inflict: slowWire },
  {
    name: 'packets to the database get lost',
    recoversWithinMs: halfOpenMs,
    inflict: halfOpen('requests', 0),
  },
  {
    name: 'packets from the database get lost',
    recoversWithinMs: halfOpenMs,
    inflict: halfOpen('answers', 0),
  },
  {
    name: 'packets get lost in both directions',
    takesLong: true,
    recoversWithinMs: halfOpenMs,
    inflict: halfOpen('both', 4_000),
  },
  { name: 'the pool is full', recoversWithinMs: 15_000, inflict: fillPool },
  { name: 'the database accepts no connection', recoversWithinMs: 15_000, inflict: fillDatabase },
]

async function killServer(rig: Rig): Promise<number> {
  await rig.server().kill('SIGKILL')
  await sleep(500)
  const overAt = performance.now()
  await rig.startServer()
  return overAt
}

/** All its processes at once, as when its machine dies. Its owner starts it again. */
async function killDatabase({ dataDir }: Rig): Promise<number> {
  const postmaster = postmasterPidIn(dataDir)
  for (const pid of [postmaster, ...childrenOf(postmaster)]) kill(pid)
  return performance.now()
}

/** Postgres itself then ends all other backends, because they share memory with the one that died. */
async function killBackend(rig: Rig): Promise<number> {
  const pids = await rig.ask(
    (sql) => sql<{ pid: number }[]>`
      select pid from pg_stat_activity
      where application_name = 'token-ledger' and datname = current_database()
      order by state = 'active' desc`,
  )
  if (pids[0] === undefined) throw new Error('the service has no connection')
  kill(pids[0].pid)
  return performance.now()
}

/** Ten times, each at some moment of the load. */
function snap(which: 'line' | 'wire'): Fault['inflict'] {
  return async ({ [which]: wire }) => {
    for (let i = 0; i < 10; i++) {
      await sleep(50 + Math.random() * 250)
      wire.snap()
    }
    return performance.now()
  }
}

async function cutWire({ wire }: Rig): Promise<number> {
  wire.cut()
  await sleep(3_000)
  wire.mend()
  return performance.now()
}

async function slowWire({ wire }: Rig): Promise<number> {
  wire.delay(200)
  await sleep(5_000)
  wire.mend()
  return performance.now()
}

/** After `lastsMs` new connections get through; the old ones, all of the pool, stay silent. */
function halfOpen(what: Lost, lastsMs: number): Fault['inflict'] {
  return async (rig) => {
    await occupyPool(rig, 500)
    rig.wire.lose(what)
    await sleep(lastsMs)
    rig.wire.mend()
    return performance.now()
  }
}

function fillPool(rig: Rig): Promise<number> {
  return occupyPool(rig, 7_000)
}

/**
 * More sign-outs of locked sessions than the pool has connections. Each ends all sessions of another user, which takes
 * a transaction of its own.
 */
async function occupyPool(rig: Rig, lastsMs: number): Promise<number> {
  const begun = await Promise.all(
    rig.bystanders.map((email) =>
      auth(rig.url, 'login', { email, password: testPassword, transport: 'body' }),
    ),
  )
  const ids = begun.map(({ data }) => data.familyId as string)
  return rig.ask(async (sql) => {
    const waiting: Promise<unknown>[] = []
    await sql.begin(async (tx) => {
      await tx`select from token_ledger.token_family where family_id = any(${ids}) for update`
      for (const { data } of begun)
        waiting.push(
          auth(rig.url, 'logout', { refreshToken: data.refreshToken, everywhere: true }).catch(
            () => null,
          ),
        )
      await sleep(lastsMs)
    })
    const overAt = performance.now()
    await Promise.all(waiting)
    return overAt
  })
}

/** Another client takes all connections that Postgres allows. */
async function fillDatabase(rig: Rig): Promise<number> {
  rig.wire.cut()
  const hog = await rig.ask(async (sql) => {
    const [row] = await sql<{ max: number }[]>`
      select current_setting('max_connections')::integer as max`
    const { host, port, path, database, user } = sql.options
    const at = path ? { path } : { host: host[0]!, port: port[0]! }
    return postgres({ ...at, database, username: user, max: row!.max })
  })
  // At once, so that each takes a connection and keeps it.
  const sleepers = Array.from({ length: hog.options.max }, () => hog`select pg_sleep(1)`)
  await Promise.allSettled(sleepers)
  rig.wire.mend()
  await sleep(4_000)
  await hog.end({ timeout: 1 })
  return performance.now()
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It had ended already.
  }
}
