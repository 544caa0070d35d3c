import { connect } from 'node:net'
import postgres from 'postgres'
import { systemErrorCode } from '../config/system-error.ts'

/** Owns the data: `initdb` made it a superuser. */
export const ownerLogin = 'postgres'

/**
 * postgres.js accepts a socket folder in a URL only if the host contains a comma, and then keeps the comma in the
 * path; psql takes only the part before the comma. Postgres therefore listens in both `socket` and `socket,`, and one
 * URL works for both clients.
 */
export function socketUrl(socketFolder: string, database: string, login = ownerLogin): string {
  return `postgres://${login}@${encodeURIComponent(socketFolder)},/${database}`
}

/** The port in the name of the socket that postgres.js connects to. The variable PGPORT changes it. */
export function socketPort(socketFolder: string): number {
  return postgres(socketUrl(socketFolder, 'postgres')).options.port[0] ?? 5432
}

/** The process id of the Postgres behind the socket; `'busy'` while it starts or stops. */
export async function postmasterPid(socketFolder: string): Promise<number | 'busy' | 'absent'> {
  const sql = connection(socketFolder)
  try {
    const [row] = await sql<{ pid: number }[]>`
      select split_part(pg_read_file('postmaster.pid'), e'\n', 1)::int as pid
    `
    return row?.pid ?? 'busy'
  } catch (error) {
    return ['ENOENT', 'ECONNREFUSED'].includes(systemErrorCode(error)) ? 'absent' : 'busy'
  } finally {
    await sql.end({ timeout: 0 })
  }
}

export async function createDatabase(socketFolder: string, name: string): Promise<void> {
  const sql = connection(socketFolder)
  try {
    const found = await sql`
      select from pg_database
      where datname = ${name}
    `
    if (found.length === 0) await sql`create database ${sql(name)}`
  } finally {
    await sql.end({ timeout: 0 })
  }
}

/** Whether a process listens on the socket. A suspended one counts, because the kernel accepts for it. */
export function accepts(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket)
    const answer = (accepted: boolean) => {
      probe.destroy()
      resolve(accepted)
    }
    probe.once('connect', () => answer(true)).once('error', () => answer(false))
  })
}

function connection(socketFolder: string): postgres.Sql {
  return postgres(socketUrl(socketFolder, 'postgres'), {
    max: 1,
    connect_timeout: 5,
    fetch_types: false,
  })
}
