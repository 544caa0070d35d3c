import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect, type Database } from '../../db/connection/connect.ts'
import { beginSessions } from '../support/begun-sessions.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { auth, query } from '../support/http.ts'
import { sqlStateOf } from '../support/ledger-rows.ts'
import { loginWith, type Login } from '../support/login.ts'
import { startServer, type ServerProcess } from '../support/server.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

const denied = '42501'

let owner: FreshDatabase
let login: Login
let servers: ServerProcess[]
/** As the service connects: with its login, its role and its settings. */
let service: Database
beforeAll(async () => {
  owner = await freshDatabase()
  login = await loginWith(owner, { roles: ['token_ledger_app'] })
  // This login alone: nothing of the owner is in the environment of the processes.
  // One issuer for both.
  const issuer = { PUBLIC_URL: 'http://localhost:3000' }
  const env = { DATABASE_URL: login.url, MIGRATION_DATABASE_URL: '', ...issuer }
  servers = await Promise.all([startServer(owner.url, env), startServer(owner.url, env)])
  service = connect(login.url, { role: 'token_ledger_app', maxConnections: 3 })
})
afterAll(async () => {
  await service.close()
  await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()))
  await login[Symbol.asyncDispose]()
  await owner[Symbol.asyncDispose]()
})

const leaving = ['set role none', 'reset role', 'reset session authorization']
const hostile = [
  'alter table token_ledger.token_event disable trigger all; delete from token_ledger.token_event',
  'set session_replication_role = replica; delete from token_ledger.token_event',
  'truncate token_ledger.token_event',
  'drop schema token_ledger cascade',
  'drop trigger chain_event on token_ledger.token_event',
  `create or replace function token_ledger.refuse_change() returns trigger
    language plpgsql as 'begin return null; end'`,
  'alter table token_ledger.token_event owner to session_user',
  'grant token_ledger_auditor to session_user',
  'alter role session_user superuser',
  "copy (select 1) to program 'true'",
  'update token_ledger_migrations.applied set created_at = 0',
]

describe('LE-18 (ASVS 13.2.2): the login that serves has no more rights than its role', () => {
  test.each(hostile)('on the connection that the service opens, it may not %s', async (attack) => {
    for (const first of leaving) {
      const sent = service.transactions.unsafe(`${first}; ${attack}`).simple()
      expect([first, await sqlStateOf(sent)]).toEqual([first, denied])
    }
  })

  test('it cannot become the owner of the ledger', async () => {
    const [{ me }] = (await owner.ownerSql`select current_user as me`) as any
    for (const step of [`set role ${me}`, `set session authorization ${me}`])
      expect(await sqlStateOf(service.transactions.unsafe(step).simple())).toBe(denied)
  })

  test('two processes serve with it under load, while such statements are sent on its connections', async () => {
    const sessions = await beginSessions(owner.url, await makeUser(owner.url), 12)
    const over = new AbortController()
    const attacks = (async () => {
      const states = new Set<string>()
      while (!over.signal.aborted)
        for (const attack of hostile)
          states.add(await sqlStateOf(login.sql.unsafe(`set role none; ${attack}`).simple()))
      return states
    })()
    const refreshed = await Promise.all(
      sessions.map(async ({ refreshToken: begun }, i) => {
        let refreshToken: string = begun
        for (let n = 0; n < 10; n++) {
          const answer = await auth(servers[(i + n) % 2]!.url, 'refresh', { refreshToken })
          expect(answer.status).toBe(200)
          refreshToken = answer.data.refreshToken
        }
        return refreshToken
      }),
    )
    over.abort()
    expect([...(await attacks)]).toEqual([denied])
    expect(new Set(refreshed).size).toBe(sessions.length)
    const [counted] = await owner.ownerSql`
      select count(*)::int as events, count(*) filter (where kind = 'rotated')::int as rotations
      from token_ledger.token_event`
    expect(counted).toEqual({ events: 12 * 11, rotations: 12 * 10 })
    expect(await owner.ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
  })

  test('an end in one process reaches the other, and every connection of both has this login', async () => {
    const [a, b] = servers as [ServerProcess, ServerProcess]
    const at = { url: a.url, owner }
    const { accessToken, refreshToken } = await signIn(at)
    await auth(a.url, 'logout', { refreshToken })
    await waitFor(async () => {
      const answer = await query(b.url, 'me', accessToken)
      return answer.reason === 'access_token_revoked'
    }, 'the other process refuses the access token')
    const names = await owner.ownerSql<{ name: string }[]>`
      select distinct usename::text as name from pg_stat_activity
      where datname = current_database() and application_name like 'token-ledger%'`
    expect(names.map(({ name }) => name)).toEqual([login.name])
  })

  test('it makes the partitions of the months ahead', async () => {
    await owner.ownerSql.unsafe(`
      drop table token_ledger.token_event_${ahead()};
      drop table token_ledger.token_family_${ahead()}`)
    expect(
      await service.transactions`select token_ledger.ensure_partitions() as made`,
    ).toMatchObject([{ made: 2 }])
  })
})

/** The last month that has partitions, as in their names. */
function ahead(): string {
  const now = new Date()
  const month = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 3))
  return month.toISOString().slice(0, 7).replace('-', '')
}
