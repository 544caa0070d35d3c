import { moveClock } from '../support/clock.ts'
import type { Rig } from './rig.ts'

const copy = 'token_ledger_copy'
const hourMs = 3600 * 1000

/** Copies the database as it is now. The service cannot reach it meanwhile. */
export function takeCopy(rig: Rig): Promise<void> {
  return withoutConnections(rig, async (run, name) => {
    await run(`drop database if exists ${copy}`)
    await run(`create database ${copy} template ${name}`)
  })
}

/**
 * The database is lost and replaced by the copy, an hour after it was taken.
 *
 * @returns when it was over (`performance.now`)
 */
export async function failOver(rig: Rig): Promise<number> {
  await withoutConnections(rig, async (run, name) => {
    await run(`drop database ${name}`)
    await run(`alter database ${copy} rename to ${name}`)
    await rig.ask((sql) => moveClock(sql, hourMs))
  })
  return performance.now()
}

async function withoutConnections(
  rig: Rig,
  work: (run: (statement: string) => Promise<unknown>, name: string) => Promise<void>,
): Promise<void> {
  const name = await rig.ask(async (sql) => sql.options.database)
  rig.wire.cut()
  try {
    await rig.ask(async (sql) => {
      await sql`select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = ${name}`
      await work((statement) => sql.unsafe(statement), name)
    }, 'postgres')
  } finally {
    rig.wire.mend()
  }
}
