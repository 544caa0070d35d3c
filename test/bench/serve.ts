import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createBench } from './bench.ts'

// A server for other benchmarks: the one of `npm run bench`, with a file of unused tokens, one a line.
// node --import tsx test/bench/serve.ts TOKENS_FILE [SESSIONS]

const [file, sessions = '4096'] = process.argv.slice(2)
if (file === undefined) {
  console.error('usage: node --import tsx test/bench/serve.ts TOKENS_FILE [SESSIONS]')
  process.exit(3)
}

const bench = await createBench({ seconds: 0, rounds: 0, large: false })
try {
  const database = await bench.database('served')
  const fleet = { sessions: Number(sessions), eventsEach: 1, sessionsPerUser: 1 }
  const seeded = await bench.fleet(database, fleet)
  const { url, child } = await bench.server('full', database)
  writeFileSync(file, seeded.map(({ token }) => `${token}\n`).join(''))
  console.log(`URL=${url} PID=${child.pid}`)
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
} finally {
  await bench.stop()
}
