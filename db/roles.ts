import type postgres from 'postgres'
import { connect } from './connection/connect.ts'

/** The two roles of a ledger. Neither can log in. Their names hold letters, digits and _ alone, and need no quotes. */
export type Roles = {
  /** What the service runs as. */
  readonly app: string
  /** What people and tools read `token_audit` with. */
  readonly auditor: string
}

/** The names that the SQL files have. */
export const usualRoles: Roles = { app: 'token_ledger_app', auditor: 'token_ledger_auditor' }

/** Replaces the usual names in these statements. */
export function withRoles(statements: string, roles: Roles): string {
  return statements.replaceAll(
    /\btoken_ledger_(app|auditor)\b/g,
    (_name, role: keyof Roles) => roles[role],
  )
}

/** The roles of the ledger in this database; the usual ones before it is migrated. */
export async function rolesOf(databaseUrl: string): Promise<Roles> {
  const database = connect(databaseUrl, { maxConnections: 1 })
  try {
    return (await readRoles(database.statements)) ?? usualRoles
  } finally {
    await database.close()
  }
}

/** Those with rights in this database; null when none has any. */
export async function readRoles(sql: postgres.ISql): Promise<Roles | null> {
  const [found] = await sql<{ app: string | null; auditor: string | null }[]>`
    select
      min(r.rolname) filter (where r.rolname ~ '^token_ledger_app(_[a-z0-9_]+)?$') as app,
      min(r.rolname) filter (where r.rolname ~ '^token_ledger_auditor(_[a-z0-9_]+)?$') as auditor
    from pg_namespace n
    cross join aclexplode(n.nspacl) a
    join pg_roles r on r.oid = a.grantee
    where n.nspname = 'token_audit'`
  if (found === undefined || found.app === null || found.auditor === null) return null
  return { app: found.app, auditor: found.auditor }
}

/**
 * The roles for the ledger in this database. Roles belong to the cluster: a second ledger gets roles of its own, so that
 * a login of the one has no rights in the other. A ledger that has roles keeps them. A login that may create none shares
 * the usual ones, if it was granted them.
 */
export async function chooseRoles(tx: postgres.TransactionSql): Promise<Roles> {
  const found = await readRoles(tx)
  if (found !== null) return found
  if (!(await belongToAnother(tx, usualRoles))) return usualRoles
  const own = await rolesOfItsOwn(tx)
  const [login] = await tx<{ mayHaveOwn: boolean; isMember: boolean }[]>`
    select
      rolcreaterole or rolsuper or exists (select from pg_roles where rolname = ${own.app}) as "mayHaveOwn",
      pg_has_role(rolname, ${usualRoles.app}::name, 'member') as "isMember"
    from pg_roles
    where rolname = current_user`
  return login?.mayHaveOwn === false && login.isMember ? usualRoles : own
}

/**
 * Named after the database; with its number where the name does not fit, or is that of roles of another one. Two
 * databases with names that are cut alike may be migrated at the same moment, when neither sees the roles of the other.
 */
async function rolesOfItsOwn(tx: postgres.TransactionSql): Promise<Roles> {
  const [database] = await tx<{ name: string; oid: string }[]>`
    select datname as name, oid::text from pg_database where datname = current_database()`
  const { name = '', oid = '' } = database ?? {}
  const word = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '_')
    .slice(0, 30)
  const roles = suffixed(`_${word}`)
  const needsNumber = word !== name || (await belongToAnother(tx, roles))
  return needsNumber ? suffixed(`_${word}_${oid}`) : roles
}

function suffixed(suffix: string): Roles {
  return { app: usualRoles.app + suffix, auditor: usualRoles.auditor + suffix }
}

/** Whether another database of the cluster gives these roles rights. */
async function belongToAnother(tx: postgres.TransactionSql, roles: Roles): Promise<boolean> {
  const uses = await tx`
    select
    from pg_shdepend d
    join pg_roles r on d.refclassid = 'pg_authid'::regclass and d.refobjid = r.oid
    where r.rolname in (${roles.app}, ${roles.auditor})
      and d.dbid not in (0, (select oid from pg_database where datname = current_database()))
    limit 1`
  return uses.length > 0
}
