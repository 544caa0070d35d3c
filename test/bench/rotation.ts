import { ratio, type Bench, type Line } from './bench.ts'
import { median } from '../support/median.ts'

const connectionCounts = [1, 16, 64, 256]

/** The rotation beside its upper limits (ceiling, store) and a lower one (one by one). */
export async function benchRotation(bench: Bench): Promise<void> {
  const database = await bench.database('rotation')
  const sessions = await bench.fleet(database, {
    sessions: 4_096,
    eventsEach: 1,
    sessionsPerUser: 1,
  })
  const quarter = (i: number) => sessions.slice(i * 1024, (i + 1) * 1024)
  const full = await bench.server('full', database)
  const oneByOne = await bench.server('one-by-one', database)
  const ceiling = await bench.server('ceiling', database)
  const store = await bench.store(database)
  await bench.load.enlist('rotation', quarter(0))
  await bench.load.enlist('one-by-one', quarter(1))
  await bench.load.enlist('ceiling', quarter(2))
  await store.enlist('store', quarter(3))

  const line = (name: string, { url, child }: typeof full, connections: number): Line => ({
    run: () => bench.measure({ fleet: name, kind: 'rotate', url, connections }, { name, child }),
  })
  const straight = (connections: number): Line => ({
    run: () =>
      bench.measure(
        { fleet: 'store', kind: 'rotate', url: '', connections },
        { name: 'store', child: store.child, load: store },
      ),
  })

  for (const warm of [
    line('rotation', full, 64),
    line('one-by-one', oneByOne, 64),
    line('ceiling', ceiling, 64),
    straight(64),
  ])
    await warm.run()
  const lines = [
    line('ceiling', ceiling, 64),
    ...connectionCounts.map((connections) => line('rotation', full, connections)),
    ...[1, 64, 256].map((connections) => line('one-by-one', oneByOne, connections)),
    straight(64),
    straight(256),
  ]
  const [top, one, , sixtyFour, most, singleOne, , singleMost] = await bench.rounds(lines)
  await bench.checkFleet('rotation', database, full)
  await bench.checkFleet('one-by-one', database, oneByOne)
  bench.targets.push(
    {
      name: 'rotation ÷ ceiling, 64 connections',
      value: ratio([sixtyFour!, top!], 'perSecond'),
      atLeast: 0.6,
    },
    {
      name: 'rotation ÷ one-by-one, 256 connections',
      value: ratio([most!, singleMost!], 'perSecond'),
      atLeast: 2,
    },
    {
      name: 'p50 ÷ one-by-one, 1 connection',
      value: ratio([one!, singleOne!], 'p50Ms'),
      atMost: 1.15,
    },
    {
      name: 'p99 ÷ p50 of rotation, 64 connections',
      value: median(sixtyFour!.map((row) => row.p99Ms / row.p50Ms)),
      atMost: 8,
    },
  )
}
