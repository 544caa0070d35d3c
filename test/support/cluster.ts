import { spawnSync } from 'node:child_process'
import { appendFileSync, chownSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import postgres, { type Sql } from 'postgres'
import { nobodyUser } from '../../server/embedded-postgres/own-user.ts'
import { run as runProgram, type FinishedProcess } from './run.ts'
import { freePort, startServer, testSecret, type ServerProcess } from './server.ts'

/** A Postgres of its own, with its own version and settings. Its superuser is `postgres`, without a password. */
export type Cluster = AsyncDisposable & {
  readonly version: number
  readonly port: number
  readonly dataFolder: string
  url(database?: string, user?: string, password?: string): string
  /** Runs statements as the superuser and returns the rows of the last one. */
  exec(statements: string, database?: string): Promise<any>
  /** A pool of the superuser, closed with the cluster. */
  sql(database?: string): Sql
  start(): void
  stop(mode?: 'smart' | 'fast' | 'immediate'): void
  /** Makes the server read its configuration again. */
  reload(): void
  /** Runs a program of this version, such as pg_dump, and returns its standard output. */
  run(program: string, args: readonly string[], options?: { mayFail?: boolean }): string
}

type Options = {
  readonly version?: number
  readonly settings?: Readonly<Record<string, string>>
  readonly initdb?: readonly string[]
  /** The whole pg_hba.conf; without one, every login on this machine is trusted. */
  readonly hba?: string
  /** Copies a running server as a standby, instead of a new one. */
  readonly standbyOf?: Cluster
}

const embedded = join(
  dirname(
    createRequire(import.meta.url).resolve(
      `@embedded-postgres/${process.platform}-${process.arch}`,
    ),
  ),
  '../native/bin',
)
const debian = '/usr/lib/postgresql/15/bin'
const binaries = new Map<number, string>([
  [17, embedded],
  ...(existsSync(debian) ? [[15, debian] as const] : []),
])

/** The versions that tests start: the embedded one, and Debian's. */
export const postgresVersions: readonly number[] = [...binaries.keys()]

/** Debian's Postgres has the tools (pg_dump, pg_basebackup), which the embedded one lacks. */
export const hasDebianPostgres = binaries.has(15)

if (!hasDebianPostgres && process.env.CI === 'true')
  throw new Error('NO POSTGRES 15: install it (apt-get install postgresql-15)')

/** Postgres refuses to run as root. initdb wants a user with a name. */
const nobody = process.getuid?.() === 0 ? nobodyUser : null

export async function startCluster(options: Options = {}): Promise<Cluster> {
  const { version = 17, settings = {}, initdb = [], hba, standbyOf } = options
  const bin = binaries.get(version)
  if (bin === undefined) throw new Error(`Postgres ${version} is not installed`)
  const folder = mkdtempSync(join(tmpdir(), 'token-ledger-cluster-'))
  if (nobody !== null) chownSync(folder, nobody.uid, nobody.gid)
  const dataFolder = join(folder, 'data')
  const logFile = join(folder, 'log')
  const port = await freePort()
  const pools: Sql[] = []

  function run(program: string, args: readonly string[], { mayFail = false } = {}): string {
    const { status, stdout, stderr, error } = spawnSync(join(bin!, program), args, {
      ...nobody,
      cwd: folder,
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
      // A background server keeps the pipes that it inherits open: it gets none.
      stdio: program === 'pg_ctl' ? 'ignore' : 'pipe',
      env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8', HOME: folder },
    })
    if (error !== undefined) throw error
    if (status === 0 || mayFail) return stdout ?? ''
    const log = existsSync(logFile) ? readFileSync(logFile, 'utf8').slice(-2000) : ''
    throw new Error(`${program} ended with ${status}: ${stderr ?? ''}${log}`)
  }
  const control = (...args: string[]) => run('pg_ctl', ['-D', dataFolder, '-w', ...args])

  if (standbyOf === undefined)
    run(
      'initdb',
      ['-D', dataFolder, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8'].concat(
        '--no-sync',
        initdb,
      ),
    )
  else run('pg_basebackup', ['-D', dataFolder, '-R', '-c', 'fast', '-d', standbyOf.url()])
  const all = {
    listen_addresses: "'127.0.0.1'",
    port: String(port),
    unix_socket_directories: `'${folder}'`,
    fsync: 'off',
    shared_buffers: "'32MB'",
    ...settings,
  }
  const lines = Object.entries(all).map(([name, value]) => `${name} = ${value}\n`)
  appendFileSync(join(dataFolder, 'postgresql.conf'), lines.join(''))
  if (hba !== undefined) replaceFile(join(dataFolder, 'pg_hba.conf'), hba)

  const url = (database = 'postgres', user = 'postgres', password = '') =>
    `postgres://${user}${password && `:${encodeURIComponent(password)}`}@127.0.0.1:${port}/${database}`
  const cluster: Cluster = {
    version,
    port,
    dataFolder,
    url,
    async exec(statements, database) {
      const sql = postgres(url(database), { max: 1, onnotice: () => {} })
      try {
        return await sql.unsafe(statements)
      } finally {
        await sql.end({ timeout: 1 })
      }
    },
    sql(database) {
      const pool = postgres(url(database), { max: 4, onnotice: () => {} })
      pools.push(pool)
      return pool
    },
    start: () => void control('-l', logFile, 'start'),
    stop: (mode = 'fast') => void control('-m', mode, 'stop'),
    reload: () => void control('reload'),
    run,
    async [Symbol.asyncDispose]() {
      await Promise.all(pools.map((pool) => pool.end({ timeout: 0 })))
      run('pg_ctl', ['-D', dataFolder, '-w', '-m', 'immediate', 'stop'], { mayFail: true })
      rmSync(folder, { recursive: true, force: true })
    },
  }
  try {
    cluster.start()
  } catch (error) {
    await cluster[Symbol.asyncDispose]()
    throw error
  }
  return cluster
}

/** The new file belongs to the user as whom Postgres runs. */
function replaceFile(path: string, text: string): void {
  rmSync(path)
  appendFileSync(path, text)
  if (nobody !== null) chownSync(path, nobody.uid, nobody.gid)
}

/** Starts the service with one login for everything, as a first try on a cluster of one's own. */
export function serve(url: string, env: Record<string, string> = {}): Promise<ServerProcess> {
  return startServer(url, { DATABASE_URL: url, ...env })
}

/** Runs the command line with one login for everything. */
export function command(
  url: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<FinishedProcess> {
  return runProgram('server/cli/main.ts', args, {
    env: { AUTH_SECRET: testSecret, DATABASE_URL: url, ...env },
  })
}
