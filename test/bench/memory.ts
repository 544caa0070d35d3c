import type { Bench } from './bench.ts'

const rotations = 200_000
const warmUp = 30_000

/** The server's heap after garbage collection, before and after very many rotations. */
export async function benchMemory(bench: Bench): Promise<void> {
  const database = await bench.database('memory')
  const sessions = await bench.fleet(database, {
    sessions: 4_096,
    eventsEach: 1,
    sessionsPerUser: 1,
  })
  const { url, child } = await bench.server('full', database)
  await bench.load.enlist('memory', sessions)
  const job = { fleet: 'memory', kind: 'rotate', url, connections: 64, seconds: 600 } as const
  await bench.load.run({ ...job, count: warmUp })
  const before: number = await child.call('heap')
  bench.say(`${rotations} rotations`)
  await bench.load.run({ ...job, count: rotations })
  const after: number = await child.call('heap')
  bench.facts['heap bytes after 200,000 rotations'] = after
  bench.targets.push({
    name: 'heap after 200,000 rotations ÷ before',
    value: after / before,
    atMost: 1.1,
  })
}
