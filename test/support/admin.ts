import postgres, { type Sql } from 'postgres'
import { codeOf } from '../../db/connection/errors.ts'

/** The same server, another database. */
export function databaseUrl(serverUrl: string, database: string): string {
  const url = new URL(serverUrl)
  url.pathname = `/${database}`
  return url.href
}

/**
 * The same database, with the login of this run that is only a member of token_ledger_app: as a service is deployed.
 * Outside of a test run, the given login.
 */
export function serviceUrl(ownerUrl: string): string {
  const login = process.env['TEST_SERVICE_LOGIN']
  if (login === undefined) return ownerUrl
  // The URL of a socket has a comma in its host, which the setters of URL do not take.
  return ownerUrl.replace(/^(\w+:\/\/)(?:[^@/]*@)?/, `$1${login}@`)
}

/** Drops a database, if there is one, with any connections it still has. */
export async function dropDatabase(admin: Sql, name: string): Promise<void> {
  await againWhenCrossed(() => admin`drop database if exists ${admin(name)} with (force)`)
}

/** Drops test databases, with any connections they still have. */
export async function dropDatabases(
  admin: Sql,
  which: (made: { run: string; startedAt: number }) => boolean,
): Promise<void> {
  const found = await admin<{ datname: string }[]>`
    select datname
    from pg_database
    where datname like 'token\\_ledger\\_test\\_%'
  `
  for (const { datname } of found) {
    const match = /^(token_ledger_test_(\d+)_\d+)_/.exec(datname)
    if (match === null || !which({ run: match[1]!, startedAt: Number(match[2]) })) continue
    await dropDatabase(admin, datname)
  }
}

export async function asAdmin(
  adminUrl: string,
  run: (admin: Sql) => PromiseLike<unknown>,
): Promise<void> {
  const admin = postgres(adminUrl, { max: 1, onnotice: () => {} })
  try {
    await run(admin)
  } finally {
    await admin.end()
  }
}

/** Drops a login, if there is one, with its rights in the database of `adminUrl` and in the cluster. */
export async function dropLogin(adminUrl: string, name: string): Promise<void> {
  const role = `"${name}"`
  await asAdmin(adminUrl, (admin) =>
    againWhenCrossed(() =>
      admin.unsafe(`drop role if exists ${role}`).catch(async (error: unknown) => {
        if (codeOf(error) !== neededByOthers) throw error
        await admin.unsafe(`drop owned by ${role}`)
        await admin.unsafe(`drop role ${role}`)
      }),
    ),
  )
}

const neededByOthers = '2BP01'
/** Two sessions change the same row of a catalogue. */
const changedByAnother = 'XX000'

/**
 * Repeats what another test crossed: a migration of its database may let every login of the cluster connect to it, and
 * the login and the database may be dropped at the same moment.
 */
export async function againWhenCrossed<T>(work: () => PromiseLike<T>): Promise<T> {
  for (let tries = 1; ; tries++)
    try {
      return await work()
    } catch (error) {
      if (![neededByOthers, changedByAnother].includes(codeOf(error)) || tries === 10) throw error
    }
}

/** Allows or refuses connections to this database, and ends those of the service; other connections stay. */
export async function allowService(url: string, allowed: boolean): Promise<void> {
  const name = new URL(url).pathname.slice(1)
  await asAdmin(databaseUrl(url, 'postgres'), async (admin) => {
    await admin.unsafe(`alter database "${name}" with allow_connections ${allowed}`)
    await admin`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = ${name} and application_name = 'token-ledger'`
  })
}
