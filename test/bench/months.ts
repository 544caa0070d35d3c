import { ratio, type Bench, type Line } from './bench.ts'

/** Two years of closed months beside the five partitions of a new ledger. */
const closedMonths = 23

/** The rotation in a ledger that keeps its months: partitions of the past must not matter. */
export async function benchMonths(bench: Bench): Promise<void> {
  const lines: Line[] = []
  for (const kept of [0, closedMonths]) {
    const database = await bench.database(`months_${kept}`)
    await database.sql`
      select token_ledger.make_month(date_trunc('month', now()) - ago * interval '1 month')
      from generate_series(1, ${kept}::integer) ago`
    const [row] = await database.sql`
      select count(*)::integer as months from pg_inherits where inhparent = 'token_ledger.token_event'::regclass`
    const fleet = `${row!.months} months`
    const sessions = { sessions: 2_048, eventsEach: 1, sessionsPerUser: 1 }
    const { url, child } = await bench.server('full', database)
    await bench.load.enlist(fleet, await bench.fleet(database, sessions))
    const line: Line = {
      run: () =>
        bench.measure(
          { fleet, kind: 'rotate', url, connections: 64 },
          { name: `rotation, ${fleet}`, child },
        ),
    }
    await line.run()
    lines.push(line)
  }
  const [few, many] = await bench.rounds(lines)
  bench.targets.push({
    name: 'rotation with 28 months ÷ 5 months',
    value: ratio([many!, few!], 'perSecond'),
    atLeast: 0.95,
  })
  bench.facts['postgresCpu of a rotation, 28 months ÷ 5 months'] = ratio(
    [many!, few!],
    'postgresCpu',
  )
}
