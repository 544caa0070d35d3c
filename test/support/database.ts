import { randomUUID } from 'node:crypto'
import postgres, { type Sql } from 'postgres'
import { inject } from 'vitest'
import { asAdmin, databaseUrl, dropDatabase } from './admin.ts'

export type FreshDatabase = AsyncDisposable & {
  readonly url: string
  /** Connected as the role that owns all tables; closed by disposing. */
  readonly ownerSql: Sql
}

/** Creates a migrated, empty database for one test: `await using database = await freshDatabase()`. */
export function freshDatabase(): Promise<FreshDatabase> {
  return createDatabase(inject('testDatabases').template)
}

/** A database that no migration has touched yet: `await using database = await emptyDatabase()`. */
export function emptyDatabase(): Promise<FreshDatabase> {
  return createDatabase('template0')
}

async function createDatabase(copyOf: string): Promise<FreshDatabase> {
  const { adminUrl, template } = inject('testDatabases')
  const name = template.replace(/template$/, randomUUID().replaceAll('-', '').slice(0, 16))
  await asAdmin(
    adminUrl,
    (admin) => admin`create database ${admin(name)} template ${admin(copyOf)} strategy file_copy`,
  )
  const url = databaseUrl(adminUrl, name)
  const ownerSql = postgres(url, { max: 4, onnotice: () => {} })
  return {
    url,
    ownerSql,
    async [Symbol.asyncDispose]() {
      await ownerSql.end({ timeout: 1 })
      await asAdmin(adminUrl, async (admin) => {
        const roles = await rolesOfItsOwn(admin, name)
        await dropDatabase(admin, name)
        for (const role of roles) await admin.unsafe(`drop role ${role}`)
      })
    },
  }
}

/** Where the database was migrated by itself, it has roles of its own, which outlive it. */
async function rolesOfItsOwn(admin: Sql, database: string): Promise<string[]> {
  const rows = await admin<{ name: string }[]>`
    select distinct r.rolname as name
    from pg_shdepend s
    join pg_database d on d.oid = s.dbid and d.datname = ${database}
    join pg_roles r on s.refclassid = 'pg_authid'::regclass and r.oid = s.refobjid
    where r.rolname ~ '^token_ledger_(app|auditor)_'`
  return rows.map(({ name }) => name)
}
