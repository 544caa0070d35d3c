import type { Bench, Line } from './bench.ts'
import type { JobKind } from './load.ts'

/** Sign-in, logout, and calls that only verify a token. */
export async function benchProcedures(bench: Bench): Promise<void> {
  const database = await bench.database('procedures')
  const people = await bench.fleet(database, { sessions: 1_000, eventsEach: 1, sessionsPerUser: 1 })
  const many = { sessions: 40_000, eventsEach: 1, sessionsPerUser: 10 }
  const leaving = await bench.fleet(database, many)
  const server = await bench.server('full', database)
  const { url, child } = server
  await bench.load.enlist('people', people)
  await bench.load.enlist('leaving', leaving)

  const line = (kind: JobKind, name: string, fleet = 'people'): Line => ({
    run: () => bench.measure({ fleet, kind, url, connections: 64 }, { name, child }),
  })
  // Every session gets an access token, and the server warms up.
  await line('rotate', 'rotation').run()
  await bench.rounds([
    line('sign-in', 'sign-in'),
    line('logout', 'logout', 'leaving'),
    line('me', 'me'),
  ])
}
