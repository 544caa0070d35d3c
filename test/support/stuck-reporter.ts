import { spawnSync } from 'node:child_process'
import postgres from 'postgres'
import type { Reporter, TestCase } from 'vitest/node'

/**
 * Of a test that ran out of time, shows at once, and at the end of the run again, what it may have waited for: sessions of
 * the shared server that were in a transaction then, and the processes of the machine.
 */
export default class StuckReporter implements Reporter {
  readonly #seen: string[] = []

  async onTestCaseResult(test: TestCase): Promise<void> {
    const { errors = [] } = test.result()
    if (!errors.some(({ message }) => message.includes('timed out in'))) return
    const { adminUrl } = test.project.getProvidedContext().testDatabases
    const sessions = await readSessions(adminUrl).catch((error: unknown) => [String(error)])
    const lines = [`When "${test.fullName}" ran out of time:`, ...sessions, ...processes()]
    // A run that is interrupted has no end.
    for (const line of lines) console.error(line)
    this.#seen.push(...lines)
  }

  onTestRunEnd(): void {
    for (const line of this.#seen) console.error(line)
  }
}

async function readSessions(adminUrl: string): Promise<string[]> {
  const sql = postgres(adminUrl, { max: 1, connect_timeout: 10 })
  try {
    const rows = await sql`
      select pid, datname, usename, application_name, state, wait_event_type, wait_event,
        pg_blocking_pids(pid) as blocked_by, (now() - xact_start)::text as since, left(query, 200) as query
      from pg_stat_activity
      where xact_start is not null and pid <> pg_backend_pid()
      order by xact_start`
    return rows.map((row) => JSON.stringify(row))
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/** Without threads of the kernel and idle sessions of Postgres. Empty where there is no `ps`. */
function processes(): string[] {
  const columns = 'pid,ppid,etimes,stat,args'
  const { stdout } = spawnSync('ps', ['-eo', columns, '--sort=start_time'], { encoding: 'utf8' })
  return (stdout ?? '')
    .split('\n')
    .filter((line) => !/^(\s*\S+){4}\s+(\[|postgres: )/.test(line))
    .map((line) => line.slice(0, 160))
}
