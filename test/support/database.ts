import { randomUUID } from 'node:crypto'
import postgres, { type Sql } from 'postgres'
import { inject } from 'vitest'
import { asAdmin, databaseUrl } from './admin.ts'

export type FreshDatabase = AsyncDisposable & {
  readonly url: string
  /** As the role that owns everything; closed by disposing. */
  readonly ownerSql: Sql
}

/** A migrated, empty database of one's own: `await using database = await freshDatabase()`. */
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
      await asAdmin(adminUrl, (admin) => admin`drop database if exists ${admin(name)} with (force)`)
    },
  }
}
