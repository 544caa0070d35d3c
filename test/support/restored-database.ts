import { asAdmin, databaseUrl, dropDatabase } from './admin.ts'
import type { FreshDatabase } from './database.ts'

/** A copy of a database, as a backup is one. */
export type DatabaseCopy = AsyncDisposable & {
  /** Puts the copy in the place of the database, whose connections end. */
  restore(): Promise<void>
}

/** Copies the database as it is now; its connections end. */
export async function copyDatabase(
  { url }: Pick<FreshDatabase, 'url'>,
  label = 'copy',
): Promise<DatabaseCopy> {
  const name = new URL(url).pathname.slice(1)
  const copy = `${name}_${label}`
  const run = async (...statements: string[]) => {
    await asAdmin(databaseUrl(url, 'postgres'), async (admin) => {
      await admin.unsafe(`alter database "${name}" with allow_connections false`)
      await admin`select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = ${name}`
      for (const statement of statements) await admin.unsafe(statement)
      await admin.unsafe(`alter database "${name}" with allow_connections true`)
    })
  }
  await run(`create database "${copy}" template "${name}" strategy file_copy`)
  return {
    restore: () =>
      run(
        `drop database "${name}" with (force)`,
        `create database "${name}" template "${copy}" strategy file_copy`,
      ),
    async [Symbol.asyncDispose]() {
      await asAdmin(databaseUrl(url, 'postgres'), (admin) => dropDatabase(admin, copy))
    },
  }
}
