import { ratio, type Bench, type Row } from './bench.ts'

/** One and two server processes on one database, with the same number of connections in total. */
export async function benchProcesses(bench: Bench): Promise<void> {
  const database = await bench.database('processes')
  const sessions = await bench.fleet(database, {
    sessions: 2_048,
    eventsEach: 1,
    sessionsPerUser: 1,
  })
  const servers = [await bench.server('full', database), await bench.server('full', database)]
  for (const i of [0, 1])
    await bench.load.enlist(
      `half ${i}`,
      sessions.filter((_s, at) => at % 2 === i),
    )
  const job = (i: number, connections: number) =>
    ({ fleet: `half ${i}`, kind: 'rotate', url: servers[i]!.url, connections }) as const
  const run = (i: number, connections: number, name: string) =>
    bench.measure(job(i, connections), { name, child: servers[i]!.child })
  await run(0, 64, 'warm')
  await run(1, 64, 'warm')

  const [one, two] = await bench.rounds([
    { run: () => run(0, 64, 'one process') },
    {
      async run() {
        const halves = await Promise.all([run(0, 32, 'two processes'), run(1, 32, 'two processes')])
        return together(halves)
      },
    },
  ])
  bench.facts['two processes ÷ one'] = ratio([two!, one!], 'perSecond')
}

/** Joins two rows. Each run measured Postgres and the load generator for both servers together, so a quarter is its own. */
function together([one, other]: readonly [Row, Row]): Row {
  return {
    name: one.name,
    connections: one.connections + other.connections,
    perSecond: one.perSecond + other.perSecond,
    p50Ms: (one.p50Ms + other.p50Ms) / 2,
    p99Ms: Math.max(one.p99Ms, other.p99Ms),
    nodeCpu: (one.nodeCpu + other.nodeCpu) / 2,
    mainThreadCpu: (one.mainThreadCpu + other.mainThreadCpu) / 2,
    postgresCpu: (one.postgresCpu + other.postgresCpu) / 4,
    loadCpu: (one.loadCpu + other.loadCpu) / 4,
  }
}
