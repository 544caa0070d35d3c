import { migrate } from '../../db/migrate.ts'
import { usualRoles } from '../../db/roles.ts'
import { asAdmin, databaseUrl } from './admin.ts'
import { emptyDatabase, type FreshDatabase } from './database.ts'
import { loginWith, type Login } from './login.ts'

export type PlainlyOwned = AsyncDisposable & {
  readonly database: FreshDatabase
  /** Owns the ledger and is no superuser. */
  readonly login: Login
  /** What the migration could not revoke from PUBLIC. */
  readonly kept: readonly string[]
}

/** A ledger migrated by a login without superuser, as most managed databases have it. */
export async function plainlyOwned(
  options: { ownsDatabase?: boolean } = {},
): Promise<PlainlyOwned> {
  const { ownsDatabase = true } = options
  const database = await emptyDatabase()
  const login = await loginWith(database, { attributes: 'createrole' })
  const [{ version }] =
    (await database.ownerSql`select current_setting('server_version_num')::int as version`) as any
  // What a login with CREATEROLE has on a role that it made.
  const rights = version < 160_000 ? 'admin option' : 'admin true, inherit false, set false'
  const name = new URL(database.url).pathname.slice(1)
  await asAdmin(databaseUrl(database.url, 'postgres'), async (admin) => {
    // The roles of the ledger belong to the cluster, where another owner made them.
    await admin.unsafe(
      `grant token_ledger_app, token_ledger_auditor to ${login.name} with ${rights}`,
    )
    await admin.unsafe(
      ownsDatabase
        ? `alter database ${name} owner to ${login.name}`
        : `grant create on database ${name} to ${login.name}`,
    )
  })
  return {
    database,
    login,
    kept: await migrate(login.url, { roles: usualRoles }),
    async [Symbol.asyncDispose]() {
      // A login that owns a database cannot be dropped before it.
      await login.sql.end({ timeout: 1 })
      await database[Symbol.asyncDispose]()
      await login[Symbol.asyncDispose]()
    },
  }
}
