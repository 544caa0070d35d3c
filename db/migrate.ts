import { setTimeout as sleep } from 'node:timers/promises'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate as applyMigrations } from 'drizzle-orm/postgres-js/migrator'
import type postgres from 'postgres'
import { connect, type Statements } from './connection/connect.ts'
import { connectOwner } from './connection/driver.ts'
import { duration } from './connection/settings.ts'
import { assertEncoding } from './encoding.ts'
import { codeOf, driverError, lockNotAvailable } from './connection/errors.ts'
import { describeHolders, readBlockers, type LockHolder } from './connection/lock-holders.ts'
import { drizzleFolder as migrationsFolder } from './drizzle-folder.ts'
import { makeRights, makeRoles } from './rights.ts'
import { chooseRoles, rolesOf, withRoles, type Roles } from './roles.ts'

const schema = 'token_ledger_migrations'
const table = 'applied'

/**
 * Applies the pending migrations, if any, as the owner of the database. Makes the roles, their rights and the guards what
 * they should be each time: a database that was restored from a backup has the migrations and may lack these.
 *
 * All of it runs in one transaction, under a lock on the table of applied migrations: drizzle's migrator fails
 * when two processes run it at once.
 *
 * @param options.turnMs how long another process may migrate
 * @param options.onBlocked gets the sessions that the migration waits for, again and again while it does
 * @param options.lockMs how long a migration waits for a lock; statements of the service queue behind it meanwhile
 * @param options.roles in place of those that `chooseRoles` finds
 * @returns rights that PUBLIC should not have, and that this login may not revoke
 * @throws {MigrationBlocked} when another session holds the turn, or a table, for longer
 * @throws {postgres.PostgresError} when the role may not create schemas or roles; nothing was changed
 */
export async function migrate(
  databaseUrl: string,
  options: { turnMs?: number; lockMs?: number; roles?: Roles; onBlocked?: OnBlocked } = {},
): Promise<string[]> {
  const { turnMs = 60_000, lockMs = 5_000, onBlocked = () => {} } = options
  const settings = { application_name: 'token-ledger migrate', lock_timeout: duration(turnMs) }
  const sql = connectOwner(databaseUrl, settings)
  const watching = connectOwner(databaseUrl, settings)
  try {
    const [backend] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`
    await assertEncoding(sql)
    const watch = { watching, pid: backend?.pid ?? 0, onBlocked }
    return await sayingWhoBlocks(watch, async () => {
      await createMigrationsTable(sql)
      const kept = await sql.begin(async (tx) => {
        await takeOldTurn(tx, { turnMs, onBlocked })
        await tx`lock table ${tx(`${schema}.${table}`)} in share row exclusive mode`
        await tx`select set_config('lock_timeout', ${String(lockMs)}, true)`
        const isInUse = (await readNewest(tx)) > 0
        const roles = options.roles ?? (await chooseRoles(tx))
        await makeRoles(tx, roles)
        await applyPending(tx, sql, roles)
        // A newer version knows its rights better.
        if ((await readNewest(tx)) <= newestMigration()) await makeRights(tx, roles)
        return tx<{ right: string }[]>`
          select token_ledger.revoke_create_from_public() as right
          union all
          select token_ledger.revoke_connect_from_public(is_in_use => ${isInUse})`
      })
      return kept.map(({ right }) => right)
    })
  } finally {
    await Promise.all([sql.end(), watching.end()])
  }
}

/**
 * Runs drizzle's migrator inside this transaction, without one of its own. The statements of the migrations get the
 * names of these roles.
 */
function applyPending(tx: postgres.TransactionSql, sql: postgres.Sql, roles: Roles): Promise<void> {
  const client = new Proxy(tx, {
    get(target, key): unknown {
      if (key === 'begin') return (work: (tx: unknown) => Promise<unknown>) => work(client)
      if (key === 'unsafe')
        return (statement: string, parameters: postgres.ParameterOrJSON<never>[]) =>
          tx.unsafe(withRoles(statement, roles), parameters)
      return Reflect.get(key === 'options' ? sql : target, key)
    },
  }) as unknown as postgres.Sql
  const config = { migrationsFolder, migrationsSchema: schema, migrationsTable: table }
  return applyMigrations(drizzle(client), config)
}

/** Another session holds a lock that the migration needs. Nothing was changed. */
export class MigrationBlocked extends Error {
  override readonly name = 'MigrationBlocked'
}

type OnBlocked = (holders: readonly LockHolder[]) => void

/** Replaces a lock timeout by an error that names the blocking sessions, which Postgres knows only during the wait. */
async function sayingWhoBlocks<T>(
  { watching, pid, onBlocked }: { watching: postgres.Sql; pid: number; onBlocked: OnBlocked },
  work: () => Promise<T>,
): Promise<T> {
  let holders: readonly LockHolder[] = []
  const look = async () => {
    const seen = await readBlockers(watching, pid)
    if (seen.length === 0) return
    holders = seen
    onBlocked(seen)
  }
  const timer = setInterval(() => void look().catch(() => {}), 100)
  try {
    return await work()
  } catch (error) {
    if (codeOf(driverError(error)) !== lockNotAvailable) throw error
    throw blockedBy(holders)
  } finally {
    clearInterval(timer)
  }
}

function blockedBy(holders: readonly LockHolder[]): MigrationBlocked {
  return new MigrationBlocked(`the migration waits for ${describeHolders(holders)}`)
}

/** Creates drizzle's table before it can be locked. Several processes may do so at once. */
async function createMigrationsTable(sql: postgres.Sql): Promise<void> {
  const [row] = await sql<{ exists: boolean }[]>`
    select to_regclass(${`${schema}.${table}`}) is not null as exists`
  if (row?.exists === true) return
  for (let attempt = 1; ; attempt++) {
    try {
      await sql.unsafe(`
        create schema if not exists ${schema};
        create table if not exists ${schema}.${table} (
          id serial primary key, hash text not null, created_at bigint)`)
      return
    } catch (error) {
      const isMadeByAnother = ['23505', '42P06', '42P07'].includes(codeOf(error))
      if (!isMadeByAnother || attempt === 5) throw error
    }
  }
}

/**
 * Takes the advisory lock that versions before 0014 use. Any login can hold it, so a holder that could not
 * migrate is ignored.
 *
 * @throws {MigrationBlocked} when that one holds it for longer than `turnMs`
 */
async function takeOldTurn(
  tx: postgres.TransactionSql,
  { turnMs, onBlocked }: { turnMs: number; onBlocked: OnBlocked },
): Promise<void> {
  for (const startedAt = performance.now(); ; await sleep(100)) {
    const [row] = await tx<{ taken: boolean }[]>`
      select pg_try_advisory_xact_lock(hashtextextended('token_ledger.migrate', 0)) as taken`
    if (row?.taken === true) return
    const holders = await tx<LockHolder[]>`
      select a.pid, a.usename as user, a.application_name as application
      from pg_locks l
      join pg_stat_activity a on a.pid = l.pid
      where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
        and l.database = (select oid from pg_database where datname = current_database())
        and ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended('token_ledger.migrate', 0)
        and pg_has_role(a.usesysid, current_user, 'member')`
    if (holders.length === 0) return
    onBlocked(holders)
    if (performance.now() - startedAt > turnMs) throw blockedBy(holders)
  }
}

/**
 * Whether this version's newest migration has been applied. A newer schema counts as well.
 *
 * @param newest from `newestMigration`, which a caller that asks often calls once
 */
export async function isMigrated(
  { statements }: Statements,
  newest = newestMigration(),
): Promise<boolean> {
  return (await readNewest(statements)) >= newest
}

/** When the newest applied migration was made; 0 before the first. */
async function readNewest(sql: postgres.ISql): Promise<number> {
  const [row] = await sql<{ newest: string | null }[]>`
    select max(created_at)::text as newest
    from token_ledger_migrations.applied`
  return Number(row?.newest ?? 0)
}

/** No such role, table or schema; no right to them; no such login, or not with this password. */
const notYet = new Set(['22023', '42P01', '3F000', '42501', '28000', '28P01'])

/** Whether the login can take the service's role and finds this version's schema: then there is nothing to migrate. */
export async function canServe(databaseUrl: string): Promise<boolean> {
  try {
    const { app } = await rolesOf(databaseUrl)
    const database = connect(databaseUrl, { role: app, maxConnections: 1, needsPrimary: true })
    try {
      return await isMigrated(database)
    } finally {
      await database.close()
    }
  } catch (error) {
    if (notYet.has(codeOf(driverError(error)))) return false
    throw error
  }
}

/**
 * When the newest migration was made, epoch milliseconds; drizzle compares the same number. Reads and hashes
 * every migration, and blocks the event loop meanwhile.
 */
export function newestMigration(): number {
  const all = readMigrationFiles({ migrationsFolder })
  return Math.max(...all.map(({ folderMillis }) => folderMillis))
}
