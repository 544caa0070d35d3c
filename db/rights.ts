import { readFileSync } from 'node:fs'
import path from 'node:path'
import type postgres from 'postgres'
import { drizzleFolder } from './drizzle-folder.ts'
import { withRoles, type Roles } from './roles.ts'

/**
 * Creates the roles that the cluster lacks, and lets the current login take them on.
 *
 * @throws {postgres.PostgresError} 42501 when a role is missing and this login may not create it
 */
export async function makeRoles(tx: postgres.TransactionSql, roles: Roles): Promise<void> {
  await runFile(tx, 'roles.sql', roles)
}

/**
 * Gives the roles their rights, and guards their state, as the migrations do. A backup can be restored without either:
 * `pg_restore --no-privileges` leaves the rights out, and `--disable-triggers` weakens the guards.
 */
export async function makeRights(tx: postgres.TransactionSql, roles: Roles): Promise<void> {
  await runFile(tx, 'rights.sql', roles)
}

async function runFile(tx: postgres.TransactionSql, name: string, roles: Roles): Promise<void> {
  await tx.unsafe(withRoles(readFileSync(path.join(drizzleFolder, name), 'utf8'), roles))
}
