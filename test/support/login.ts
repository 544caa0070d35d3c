import { randomUUID } from 'node:crypto'
import postgres, { type Sql } from 'postgres'
import { againWhenCrossed, asAdmin, databaseUrl, dropLogin } from './admin.ts'
import type { FreshDatabase } from './database.ts'

export type Login = AsyncDisposable & {
  readonly name: string
  /** One connection, so that what it sets stays set. */
  readonly sql: Sql
  readonly url: string
}

/** A login of the cluster with the rights of these roles, connected to `database`. */
export async function loginWith(
  database: Pick<FreshDatabase, 'url'>,
  options: { roles?: readonly string[]; attributes?: string } = {},
): Promise<Login> {
  const { roles = [], attributes = '' } = options
  const name = `login_${randomUUID().replaceAll('-', '')}`
  const inRoles = roles.length === 0 ? '' : `in role ${roles.join(', ')}`
  const adminUrl = databaseUrl(database.url, 'postgres')
  const own = new URL(database.url).pathname.slice(1)
  await asAdmin(adminUrl, async (admin) => {
    await admin.unsafe(`create role ${name} login ${attributes} password '${name}' ${inRoles}`)
    await admin.unsafe(`grant connect on database "${own}" to ${name}`)
  })
  const url = new URL(database.url)
  url.username = name
  url.password = name
  const sql = postgres(url.href, { max: 1, onnotice: () => {} })
  return {
    name,
    sql,
    url: url.href,
    async [Symbol.asyncDispose]() {
      await sql.end({ timeout: 1 })
      // The database may be gone already, and what the login made in it with it.
      await asAdmin(database.url, (admin) =>
        againWhenCrossed(() => admin.unsafe(`drop owned by ${name}`)),
      ).catch(() => {})
      await dropLogin(adminUrl, name)
    },
  }
}
