import { createHmac } from 'node:crypto'
import { connect } from 'node:net'
import postgres from 'postgres'
import { systemErrorCode } from '../config/system-error.ts'
import type { PostgresFiles } from './files.ts'
import { expectPassword, isTrusting } from './password.ts'

/** Owns the data: the superuser that `initdb` makes. */
export const ownerLogin = 'postgres'
/** Of the service, which owns nothing: `migrate` creates it. */
export const serviceLogin = 'token_ledger_service'

/**
 * postgres.js accepts a socket folder in a URL only if the host contains a comma, and then keeps the comma in the
 * path; psql takes only the part before the comma. Postgres therefore listens in both `socket` and `socket,`, and one
 * URL works for both clients.
 */
export function socketUrl(access: Access, database: string, login = ownerLogin): string {
  const place = encodeURIComponent(access.socketFolder)
  return `postgres://${login}:${passwordOf(access, login)}@${place},/${database}`
}

type Access = Pick<PostgresFiles, 'socketFolder' | 'password'>

/** The owner's password does not follow from that of the service. */
function passwordOf({ password }: Access, login: string): string {
  return login === ownerLogin
    ? password
    : createHmac('sha256', password).update(login).digest('hex')
}

/** The port in the name of the socket that postgres.js connects to. The variable PGPORT changes it. */
export function socketPort(access: Access): number {
  return postgres(socketUrl(access, 'postgres')).options.port[0] ?? 5432
}

/** The process id of the Postgres behind the socket; `'busy'` while it starts or stops. */
export async function postmasterPid(access: Access): Promise<number | 'busy' | 'absent'> {
  const sql = connection(access)
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

export async function createDatabase(access: Access, name: string): Promise<void> {
  const sql = connection(access)
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

/** Sets the passwords, and from then on accepts no connection without it. */
export async function requirePassword(files: PostgresFiles): Promise<void> {
  if (!isTrusting(files.cluster)) return
  const sql = connection(files)
  try {
    const known = await sql<{ login: string }[]>`
      select rolname as login from pg_roles where rolname in (${ownerLogin}, ${serviceLogin})`
    for (const { login } of known)
      await sql.unsafe(`alter role ${login} password '${passwordOf(files, login)}'`)
    expectPassword(files.cluster)
    await sql`select pg_reload_conf()`
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

function connection(access: Access): postgres.Sql {
  return postgres(socketUrl(access, 'postgres'), {
    max: 1,
    connect_timeout: 5,
    fetch_types: false,
  })
}
