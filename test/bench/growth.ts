import { ratio, type Bench, type Line, type Row } from './bench.ts'
import { median } from '../support/median.ts'

const eventsEach = 20
const sessionsPerUser = 5
/** As many as the small ledger has: of more, the service would check more signatures of access tokens. */
const sessionsInUse = 500

/** Rotation and session listing in a small ledger and in large ones: the size must not matter. */
export async function benchGrowth(bench: Bench): Promise<void> {
  const sizes = [10_000, 1_000_000, ...(bench.options.large ? [10_000_000] : [])]
  const lines: Line[] = []
  const sized: { wal: number[] }[] = []
  for (const events of sizes) {
    const wal: number[] = []
    sized.push({ wal })
    lines.push(...(await linesFor(bench, events, wal)))
  }
  const made = await bench.rounds(lines)
  for (const [i, events] of sizes.entries()) {
    bench.facts[`walBytesPerRotation, ${short(events)} events`] = median(sized[i]!.wal)
    if (i === 0) continue
    const beside = (at: number): readonly [Row[], Row[]] => [made[2 * i + at]!, made[at]!]
    bench.targets.push(
      {
        name: `rotation with ${short(events)} ÷ 10 k events`,
        value: ratio(beside(0), 'perSecond'),
        atLeast: 0.9,
      },
      {
        name: `session listing with ${short(events)} ÷ 10 k events`,
        value: ratio(beside(1), 'perSecond'),
        atLeast: 0.9,
      },
    )
  }
}

async function linesFor(bench: Bench, events: number, wal: number[]): Promise<Line[]> {
  const database = await bench.database(`growth_${events}`)
  const fleet = { sessions: events / eventsEach, eventsEach, sessionsPerUser }
  const all = await bench.fleet(database, fleet)
  bench.facts[`bytesPerEvent, ${short(events)} events`] = await bytesPerEvent()
  const { url, child } = await bench.server('full', database)
  // The sessions in use are spread over all sessions.
  const step = Math.floor(all.length / sessionsInUse)
  const used = all.filter((_session, i) => i % step === 0).slice(0, sessionsInUse)
  await bench.load.enlist(`growth ${events}`, used)
  const line = (kind: 'rotate' | 'list', name: string): Line => ({
    run: () =>
      bench.measure(
        { fleet: `growth ${events}`, kind, url, connections: 64 },
        { name: `${name}, ${short(events)} events`, child },
      ),
  })
  const rotation = line('rotate', 'rotation')
  // Each session gets an access token, which listing needs.
  await bench.load.run({
    fleet: `growth ${events}`,
    kind: 'rotate',
    url,
    connections: 64,
    seconds: 120,
    count: used.length + 128,
  })
  return [
    {
      async run() {
        const before = await walPosition()
        const row = await rotation.run()
        wal.push(((await walPosition()) - before) / (row.perSecond * bench.options.seconds))
        return row
      },
    },
    line('list', 'listing'),
  ]

  async function walPosition(): Promise<number> {
    const [row] = await database.sql`
      select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as position`
    return row!.position as number
  }

  /** Includes TOAST and indexes. */
  async function bytesPerEvent(): Promise<number> {
    const [row] = await database.sql`
      select
        (select sum(pg_total_relation_size(relid)) from pg_partition_tree('token_ledger.token_event'))::float8
          / (select count(*) from token_ledger.token_event) as bytes`
    return row!.bytes as number
  }
}

function short(events: number): string {
  return events < 1e6 ? `${events / 1e3} k` : `${events / 1e6} M`
}
