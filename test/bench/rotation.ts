import { once } from 'node:events'
import { connect } from 'node:net'
import { median } from '../support/median.ts'
import { freePort } from '../support/server.ts'
import { middleOf, ratio, type Bench, type Line, type Row } from './bench.ts'
import { exchanges, type BenchSession } from './load.ts'
import { startLimit, type Server } from './processes.ts'

const connectionCounts = [1, 16, 64, 256]

/** The rotation beside its upper limits (limit, ceiling, store) and a lower one (one by one). */
export async function benchRotation(bench: Bench): Promise<void> {
  const database = await bench.database('rotation')
  const sessions = await bench.fleet(database, {
    sessions: 5_120,
    eventsEach: 1,
    sessionsPerUser: 1,
  })
  const fifth = (i: number) => sessions.slice(i * 1024, (i + 1) * 1024)
  const full = await bench.server('full', database)
  const oneByOne = await bench.server('one-by-one', database)
  const ceiling = await bench.server('ceiling', database)
  const store = await bench.store(database)
  const bare = await startLimit(await freePort(), await recordRotation(full, fifth(4)[0]!))
  await bench.load.enlist('rotation', fifth(0))
  await bench.load.enlist('one-by-one', fifth(1))
  await bench.load.enlist('ceiling', fifth(2))
  await store.enlist('store', fifth(3))
  await bench.load.enlist('bare', fifth(4))

  const line = (name: string, { url, child }: Server, connections: number): Line => ({
    run: () =>
      bench.measure(
        { fleet: name, kind: name === 'bare' ? 'recorded' : 'rotate', url, connections },
        { name, child },
      ),
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
    line('bare', bare, 64),
    straight(64),
  ])
    await warm.run()
  const lines = [
    line('bare', bare, 64),
    line('ceiling', ceiling, 64),
    ...connectionCounts.map((connections) => line('rotation', full, connections)),
    ...[1, 64, 256].map((connections) => line('one-by-one', oneByOne, connections)),
    straight(64),
    straight(256),
  ]
  const made = await bench.rounds(lines)
  await bare.child.stop()
  const [bareRows, top, one, , sixtyFour, most, singleOne, , singleMost, stored] = made
  const limit = bareRows!.map((row, round) => limitOf(row, stored![round]!))
  bench.rows.push(middleOf(limit))
  await bench.checkFleet('rotation', database, full)
  await bench.checkFleet('one-by-one', database, oneByOne)
  bench.targets.push(
    {
      name: 'rotation ÷ limit, 64 connections',
      value: ratio([sixtyFour!, limit], 'perSecond'),
      atLeast: 0.62,
    },
    {
      name: 'rotation ÷ ceiling, 64 connections',
      value: ratio([sixtyFour!, top!], 'perSecond'),
      atLeast: 0.8,
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
      atMost: 3,
    },
  )
}

/**
 * What one main thread could answer if it did nothing but parse, sign and send (`bare`), and prepare, decide and talk to
 * the database (`stored`). No process with this HTTP parser, this signature and this driver can answer more.
 */
function limitOf(bare: Row, stored: Row): Row {
  const mainThreadCpu = bare.mainThreadCpu + stored.mainThreadCpu
  return {
    name: 'limit',
    connections: bare.connections,
    perSecond: 1000 / mainThreadCpu,
    p50Ms: Number.NaN,
    p99Ms: Number.NaN,
    nodeCpu: bare.nodeCpu + stored.nodeCpu,
    mainThreadCpu,
    postgresCpu: stored.postgresCpu,
    loadCpu: bare.loadCpu,
  }
}

/** The bytes of one answer of the service. */
async function recordRotation({ url }: Server, session: BenchSession) {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  // Not `end`: the service takes a half-closed connection for a client that has hung up.
  socket.write(exchanges.rotate.request(session, url).replace('\r\n', '\r\nConnection: close\r\n'))
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  await once(socket, 'close')
  const [head = '', body = ''] = text.split('\r\n\r\n')
  return { head, body }
}
