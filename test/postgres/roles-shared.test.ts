import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { rolesOf } from '../../db/roles.ts'
import { command, postgresVersions, startCluster, type Cluster } from '../support/cluster.ts'
import { longTest, runsLong } from '../support/long.ts'
import { auth, query } from '../support/http.ts'
import { sqlStateOf } from '../support/ledger-rows.ts'
import { startServer } from '../support/server.ts'
import { makeUser, testPassword } from '../support/users.ts'

const theft = [
  'select email, password_hash from token_ledger.user_account',
  'select sealed_private_key from token_ledger.signing_key',
  `insert into token_ledger.user_account (user_id, email, password_hash, role)
    values (gen_random_uuid(), 'evil@example.com', 'x', 'admin')`,
  'delete from token_ledger.signing_key',
  'select * from token_audit.events',
]

describe.each(postgresVersions)('Postgres %i: two ledgers in one cluster', (version) => {
  let cluster: Cluster
  beforeAll(async () => {
    if (runsLong) cluster = await startCluster({ version })
  })
  afterAll(() => cluster?.[Symbol.asyncDispose]())

  function urlsOf(name: string) {
    const owner = cluster.url(name, `${name}_owner`)
    const service = cluster.url(name, `${name}_service`)
    return { owner, service, env: { MIGRATION_DATABASE_URL: owner, DATABASE_URL: service } }
  }

  async function migrated(name: string): Promise<ReturnType<typeof urlsOf>> {
    await cluster.exec(`create role ${name}_owner login createrole`)
    await cluster.exec(`create database ${name} owner ${name}_owner`)
    const urls = urlsOf(name)
    expect(await command(urls.owner, ['migrate'], urls.env)).toMatchObject({ code: 0 })
    return urls
  }

  /** Connects with this login, and becomes each role that there is. */
  async function tryAll(url: string): Promise<void> {
    const roles = await cluster.exec(
      `select rolname from pg_roles where rolname like 'token_ledger_%'`,
    )
    for (const role of ['none', ...roles.map(({ rolname }: any) => rolname)])
      for (const statement of theft) {
        const sql = postgres(url, { max: 1, onnotice: () => {} })
        const answer = await sqlStateOf(sql.unsafe(`set role ${role}; ${statement}`).simple())
        await sql.end()
        expect({ role, statement, answer }).toEqual({ role, statement, answer: '42501' })
      }
  }

  longTest('each has roles of its own, serves, and lets no login of the other in', async () => {
    const production = await migrated('production')
    const staging = await migrated('staging')
    expect(await rolesOf(production.service)).toEqual({
      app: 'token_ledger_app',
      auditor: 'token_ledger_auditor',
    })
    expect(await rolesOf(staging.service)).toEqual({
      app: 'token_ledger_app_staging',
      auditor: 'token_ledger_auditor_staging',
    })
    for (const { owner, service } of [production, staging]) {
      await using server = await startServer(service, { DATABASE_URL: service })
      const { email } = await makeUser(owner)
      const input = { email, password: testPassword, transport: 'body' }
      const { refreshToken } = (await auth(server.url, 'login', input)).data
      const { accessToken } = (await auth(server.url, 'refresh', { refreshToken })).data
      expect((await query(server.url, 'me', accessToken)).status).toBe(200)
    }
    for (const args of [
      ['ledger', 'verify'],
      ['sql', 'select count(*) from token_audit.events'],
    ])
      expect(await command(staging.owner, args, staging.env)).toMatchObject({ code: 0 })
    for (const login of ['staging_owner', 'staging_service']) {
      await tryAll(cluster.url('production', login))
      // Also where the database lets every login in.
      await cluster.exec('grant connect on database production to public')
      await tryAll(cluster.url('production', login))
      await cluster.exec('revoke connect on database production from public')
    }
    await tryAll(cluster.url('staging', 'production_owner'))
  })

  longTest("staging's owner is denied also where it was granted production's roles", async () => {
    await cluster.exec(`
      create role prod login; create role stage login;
      create role token_ledger_app_prod nologin; create role token_ledger_auditor_prod nologin;
      grant token_ledger_app_prod, token_ledger_auditor_prod to prod, stage`)
    await cluster.exec('create database prod owner prod')
    await cluster.exec('create database stage owner stage')
    const url = cluster.url('prod', 'prod')
    expect(await command(url, ['migrate'])).toMatchObject({ code: 0 })
    expect((await rolesOf(url)).app).toBe('token_ledger_app_prod')
    await tryAll(cluster.url('prod', 'stage'))
  })

  longTest('logins that use a ledger of an earlier version may connect as before', async () => {
    await migrated('earlier')
    await cluster.exec(`
      grant connect on database earlier to public;
      create role reader login in role token_ledger_auditor_earlier;
      create role monitor login in role pg_monitor;
      create role other_app login;
      create role stranger login`)
    await cluster.exec(
      'create table public.of_another (); grant select on public.of_another to other_app',
      'earlier',
    )
    const { owner, env } = urlsOf('earlier')
    expect(await command(owner, ['migrate'], env)).toMatchObject({ code: 0 })
    for (const [login, answer] of [
      ['reader', 'ok'],
      ['monitor', 'ok'],
      ['other_app', 'ok'],
      ['earlier_service', 'ok'],
      ['stranger', '42501'],
    ] as const) {
      const sql = postgres(cluster.url('earlier', login), { max: 1 })
      expect([login, await sqlStateOf(sql`select 1`)]).toEqual([login, answer])
      await sql.end()
    }
  })
})
