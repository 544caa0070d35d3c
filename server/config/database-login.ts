import type { Database } from '../../db/connection/connect.ts'
import { readLoginRights } from '../../db/login-rights.ts'
import type { Config } from './config.ts'
import { ConfigError } from './config-error.ts'

/** What a statement on the service's connection could do, and the role of the service could not. */
export type LoginWarning = 'database_login_is_superuser' | 'database_login_owns_ledger'

/**
 * Checks that the login that serves has no more rights than it needs.
 *
 * @throws {ConfigError} in production, when it is a superuser or may become one, unless the operator allows that
 */
export async function checkDatabaseLogin(
  config: Pick<Config, 'isProduction' | 'superuserDatabaseLogin'>,
  database: Database,
): Promise<{ readonly login: string; readonly warning: LoginWarning | null }> {
  const { name: login, isSuperuser, ownsLedger } = await readLoginRights(database)
  if (isSuperuser && config.isProduction && config.superuserDatabaseLogin !== 'allow')
    throw new ConfigError(
      `DATABASE_URL: ${login} is a superuser or may become one; serve with a login that is only a member of token_ledger_app, such as postgres://token_ledger_service:password@host:5432/database, or set SUPERUSER_DATABASE_LOGIN=allow`,
    )
  if (isSuperuser) return { login, warning: 'database_login_is_superuser' }
  return { login, warning: ownsLedger ? 'database_login_owns_ledger' : null }
}
