import { connect } from 'node:net'
import postgres from 'postgres'

/**
 * postgres.js takes a socket folder from a URL only when the host holds a comma, and then takes it with the comma; psql
 * takes what stands before the comma. So Postgres listens in `socket` and in `socket,`, and one URL serves both.
 */
export function socketUrl(socketFolder: string, database: string): string {
  return `postgres://postgres@${encodeURIComponent(socketFolder)},/${database}`
}

/** The port postgres.js will name the socket after: PGPORT moves it. */
export function socketPort(socketFolder: string): number {
  return postgres(socketUrl(socketFolder, 'postgres')).options.port[0] ?? 5432
}

/** The pid of the Postgres behind the socket; `'busy'` while it starts or stops. */
export async function postmasterPid(socketFolder: string): Promise<number | 'busy' | 'absent'> {
  const sql = connection(socketFolder)
  try {
    const [row] = await sql<{ pid: number }[]>`
      select split_part(pg_read_file('postmaster.pid'), e'\n', 1)::int as pid
    `
    return row?.pid ?? 'busy'
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    return code === 'ENOENT' || code === 'ECONNREFUSED' ? 'absent' : 'busy'
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

/** Whether a process listens on the socket; it need not be awake to. */
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
