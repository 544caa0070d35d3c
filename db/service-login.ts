import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { connectOwner } from './connection/driver.ts'
import { codeOf } from './connection/errors.ts'
import { readRoles } from './roles.ts'
import { targetOf } from './connection/target.ts'

/** Another process made the role, or the membership, at the same moment. */
const madeByAnother = new Set(['23505', '42710', 'XX000'])
const maxTries = 5

/**
 * Makes sure that the login of `serviceUrl` exists, can connect to the database, and can take the role of the service. An
 * existing login keeps its password and its other rights.
 *
 * @param ownerUrl a login that migrated the ledger
 * @throws {postgres.PostgresError} 42501 when the owner may not create the login, or not grant it the role
 */
export async function admitServiceLogin(ownerUrl: string, serviceUrl: string): Promise<void> {
  // With the driver's default for the user.
  const { user, pass } = postgres(targetOf(serviceUrl).login).options
  const sql = connectOwner(ownerUrl, { application_name: 'token-ledger migrate' })
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        await admit(sql, user, typeof pass === 'string' ? pass : '')
        return
      } catch (error) {
        if (!madeByAnother.has(codeOf(error)) || attempt === maxTries) throw error
      }
    }
  } finally {
    await sql.end()
  }
}

async function admit(sql: postgres.Sql, user: string, password: string): Promise<void> {
  const roles = await readRoles(sql)
  if (roles === null) throw new Error('the ledger has no roles: migrate first')
  // Not `sql(user)`, which takes a dot for the end of a name.
  const [login] = await sql<
    { name: string; database: string; isKnown: boolean; isBefore16: boolean }[]
  >`
    select
      quote_ident(${user}) as name,
      quote_ident(current_database()) as database,
      exists (select from pg_roles where rolname = ${user}) as "isKnown",
      current_setting('server_version_num')::integer < 160000 as "isBefore16"`
  if (login === undefined) throw new Error('Postgres did not answer')
  if (!login.isKnown) {
    const clause = password === '' ? '' : ` password '${scramVerifier(password)}'`
    await sql.unsafe(`create role ${login.name} login${clause}`)
  }
  // From Postgres 16 on, a member with ADMIN alone cannot take the role, and a plain grant does not change that.
  const [right, options] = login.isBefore16 ? ['MEMBER', ''] : ['SET', ' with set true']
  const [found] = await sql<{ isMember: boolean; isLetIn: boolean }[]>`
    select
      pg_has_role(${user}::name, ${roles.app}::name, ${right}) as "isMember",
      has_database_privilege(${user}::name, current_database(), 'connect') as "isLetIn"`
  if (found?.isMember !== true) await sql.unsafe(`grant ${roles.app} to ${login.name}${options}`)
  if (found?.isLetIn !== true)
    await sql.unsafe(`grant connect on database ${login.database} to ${login.name}`)
}

/**
 * What Postgres stores of a password (RFC 5803). Sent in place of the password, which the log of the server could
 * otherwise show.
 */
export function scramVerifier(password: string, salt: Buffer = randomBytes(16)): string {
  const iterations = 4096
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256')
  const keyFor = (text: string) => createHmac('sha256', salted).update(text).digest()
  const storedKey = createHash('sha256').update(keyFor('Client Key')).digest('base64')
  const serverKey = keyFor('Server Key').toString('base64')
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`
}
