import { setTimeout as sleep } from 'node:timers/promises'
import { ratio, type Bench } from './bench.ts'

const holdMs = 5_000

/** The latency of other families while another transaction holds the lock of one, and while many callers sign in. */
export async function benchIsolation(bench: Bench): Promise<void> {
  const database = await bench.database('isolation')
  const sessions = await bench.fleet(database, {
    sessions: 2_048,
    eventsEach: 1,
    sessionsPerUser: 1,
  })
  const { url, child } = await bench.server('full', database)
  const [victim, ...rest] = sessions
  const [signingIn, others] = [rest.slice(0, 64), rest.slice(64)]
  await bench.load.enlist('others', others)
  await bench.load.enlist('victim', [victim!])
  await bench.load.enlist('signing in', signingIn)
  const job = { fleet: 'others', kind: 'rotate', url, connections: 64, seconds: 5 } as const
  await bench.load.run({ ...job, seconds: bench.options.seconds })

  const lines = [
    { run: () => bench.measure(job, { name: 'no family locked', child }) },
    {
      async run() {
        const held = hold()
        await sleep(50)
        const knocking = bench.load.run({
          ...job,
          fleet: 'victim',
          kind: 'locked',
          connections: 1,
        })
        const row = await bench.measure(job, { name: 'one family locked', child })
        await Promise.all([held, knocking])
        return row
      },
    },
  ]
  const [free, locked] = await bench.rounds(lines)
  bench.targets.push({
    name: 'p99 of the others while one family is locked ÷ normal',
    value: ratio([locked!, free!], 'p99Ms'),
    atMost: 2,
  })

  const few = { ...job, connections: 4 } as const
  const [calm, busy] = await bench.rounds([
    { run: () => bench.measure(few, { name: 'no one signs in', child }) },
    {
      async run() {
        const signIns = bench.load.run({
          ...job,
          fleet: 'signing in',
          kind: 'sign-in',
          seconds: job.seconds + 1,
        })
        await sleep(500)
        const row = await bench.measure(few, { name: '64 sign in', child })
        await signIns
        return row
      },
    },
  ])
  bench.targets.push({
    name: 'p99 of four that refresh while 64 sign in ÷ normal',
    value: ratio([busy!, calm!], 'p99Ms'),
    atMost: 2,
  })

  function hold(): Promise<unknown> {
    return database.sql.begin(async (tx) => {
      await tx`
        select from token_ledger.token_family where family_id = ${victim!.familyId} for update`
      await sleep(holdMs)
    })
  }
}
