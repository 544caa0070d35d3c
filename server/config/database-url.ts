import { addressOf, describeAddress } from '../../db/connection/connection-string.ts'
import {
  codeOf,
  driverError,
  isReadOnly,
  isUnavailable,
  lockNotAvailable,
} from '../../db/connection/errors.ts'
import { describeHolders, type LockHolder } from '../../db/connection/lock-holders.ts'
import { ConnectionRefused } from '../../db/connection/handshake.ts'
import { migrate } from '../../db/migrate.ts'
import { rolesOf } from '../../db/roles.ts'
import { admitServiceLogin } from '../../db/service-login.ts'
import type { Config } from './config.ts'
import { waitingFor } from './waiting.ts'

/** The database could not be used. The message is one line; it names the host and never the password. */
export class DatabaseUnreachable extends Error {}

const insufficientPrivilege = '42501'

/** Of one database; the same URL where one login does both. */
export type DatabaseUrls = {
  /** The login that owns the ledger: migrates, archives, erases. */
  readonly owner: string
  /** The login that serves. */
  readonly service: string
}

/** Null where the service runs a Postgres of its own. */
export function configuredUrls(config: Config): DatabaseUrls | null {
  const { databaseUrl, migrationDatabaseUrl = databaseUrl } = config
  if (databaseUrl === undefined || migrationDatabaseUrl === undefined) return null
  return { owner: migrationDatabaseUrl, service: databaseUrl }
}

/**
 * Migrates, and lets the serving login take its role.
 *
 * @returns rights of PUBLIC that stay, as `migrate` does
 * @throws {DatabaseUnreachable} also when the owner lacks a privilege that this needs
 */
export async function migrateWithErrors({ owner, service }: DatabaseUrls): Promise<string[]> {
  let holders: string | null = null
  const onBlocked = (found: readonly LockHolder[]) => (holders = describeHolders(found))
  const blockers = () => holders && `${holders}, before the migration`
  const kept = await withPrivilegeErrors(
    owner,
    'migrating needs the login that owns the schemas of token-ledger, and for the first migration one with CREATEROLE: set MIGRATION_DATABASE_URL',
    // Bounded by itself: how long it takes to migrate depends on the ledger.
    () => waitingFor({ what: blockers }, () => migrate(owner, { onBlocked })),
  )
  if (service === owner) return kept
  const { app } = await withDatabaseErrors(owner, () => rolesOf(owner))
  await withPrivilegeErrors(
    owner,
    `this login may not admit that of DATABASE_URL: create it as a superuser, and grant it CONNECT on the database and ${app}`,
    () => admitServiceLogin(owner, service),
  )
  return kept
}

async function withPrivilegeErrors<T>(
  databaseUrl: string,
  advice: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await withDatabaseErrors(databaseUrl, work)
  } catch (error) {
    if (!(error instanceof Error) || codeOf(error) !== insufficientPrivilege) throw error
    throw unreachable(databaseUrl, `${error.message}; ${advice}`)
  }
}

/**
 * Runs `work`, which needs the database.
 *
 * @throws {DatabaseUnreachable} in place of the driver's error, so that no SQL statement is printed
 */
export async function withDatabaseErrors<T>(
  databaseUrl: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    const error = driverError(thrown)
    if (!isUnavailable(error)) throw error
    const code = codeOf(error)
    const reason = reasons[code] ?? messageOf(error)
    throw unreachable(
      databaseUrl,
      reason === undefined ? code || 'unknown error' : `${reason} (${code})`,
    )
  }
}

/** A start that takes longer is given up: whatever supervises the process starts it again. */
const startStepMs = 60_000

/** `withDatabaseErrors` for a step of a start. */
export function startWithDatabase<T>(databaseUrl: string, work: () => Promise<T>): Promise<T> {
  const what = () => `the database ${describeAddress(addressOf(databaseUrl))}`
  return withDatabaseErrors(databaseUrl, () => waitingFor({ what, atMostMs: startStepMs }, work))
}

/** Only of errors whose message never quotes a statement. */
function messageOf(error: unknown): string | undefined {
  if (error instanceof ConnectionRefused) return error.message
  // It names the session that holds a lock, or the command that may not write.
  const isShown = codeOf(error) === lockNotAvailable || isReadOnly(error)
  return isShown && error instanceof Error ? error.message : undefined
}

const reasons: Readonly<Record<string, string>> = {
  '08P01':
    'the settings of the connection are refused; if a pooler such as PgBouncer listens there, set DATABASE_URL and MIGRATION_DATABASE_URL to Postgres itself',
  '28P01': 'password authentication failed',
  '28000': 'this user is not allowed to connect',
  '3D000': 'the database does not exist',
  '53300': 'too many connections',
  '57P03': 'the server is starting up or shutting down',
  ECONNREFUSED: 'no server listens there',
  ENOTFOUND: 'the host does not exist',
  EAI_AGAIN: 'the host name cannot be resolved',
  CONNECT_TIMEOUT: 'no answer from the server',
}

function unreachable(databaseUrl: string, problem: string): DatabaseUnreachable {
  const place = describeAddress(addressOf(databaseUrl))
  return new DatabaseUnreachable(`cannot use the database ${place}: ${problem}`)
}
