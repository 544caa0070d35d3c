// A process that owns an embedded Postgres, for tests that end it. It prints the URL, stops when its stdin closes, and
// survives an interrupt, as a draining server does.
import { startEmbeddedPostgres } from '../../server/embedded-postgres/start.ts'

process.on('SIGINT', () => console.error('draining'))
try {
  const database = await startEmbeddedPostgres({
    dataDir: process.argv[2]!,
    log: (line) => console.error(line),
  })
  console.log(database.url)
  process.stdin.resume().once('end', () => void database.stop())
} catch (error) {
  console.error(String(error))
  process.exitCode = 1
}
