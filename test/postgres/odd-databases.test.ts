import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { command, postgresVersions, serve, startCluster, type Cluster } from '../support/cluster.ts'
import { longTest } from '../support/long.ts'
import { auth } from '../support/http.ts'
import { liveALife } from '../support/life.ts'
import { signIn } from '../support/sessions.ts'

/** Collations that compare texts in ways of their own: dotless i, phone book order, no case, no punctuation. */
const locales = ['tr-TR', 'de-u-co-phonebk', 'und-u-ks-level1', 'und-u-ka-shifted']

describe.each(postgresVersions)('Postgres %i', { timeout: 120_000 }, (version) => {
  let cluster: Cluster

  beforeAll(async () => {
    cluster = await startCluster({ version, settings: { timezone: "'Pacific/Apia'" } })
  }, 60_000)

  afterAll(() => cluster?.[Symbol.asyncDispose]())

  // The first test: later ones make the roles.
  longTest('a DBA made the roles, and the owner has no CREATEROLE', async () => {
    await cluster.exec(
      `create role deploy login nosuperuser nocreaterole;
       create role token_ledger_app nologin;
       create role token_ledger_auditor nologin;
       grant token_ledger_app, token_ledger_auditor to deploy`,
    )
    await cluster.exec('create database preset owner deploy')
    await useAll(cluster.url('preset', 'deploy'))
  })

  longTest.each(locales)('a database sorted by ICU as %s', async (locale) => {
    const name = locale.replaceAll('-', '_').toLowerCase()
    await cluster.exec(
      `create database ${name} template template0 locale_provider icu icu_locale '${locale}'`,
    )
    await useAll(cluster.url(name))
  })

  longTest('the server, the database and the process are in three odd time zones', async () => {
    await cluster.exec('create database zones')
    await cluster.exec(`alter database zones set timezone = 'Asia/Kathmandu'`)
    await useAll(cluster.url('zones'), { TZ: 'America/St_Johns' })
  })

  longTest('row level security on every table stops the start, which names it', async () => {
    await cluster.exec('create database walled')
    await cluster.exec(
      `create function wall() returns event_trigger language plpgsql as $$
       declare made record;
       begin
         for made in select * from pg_event_trigger_ddl_commands() where object_type = 'table' loop
           execute format('alter table %s enable row level security', made.object_identity);
         end loop;
       end $$;
       create event trigger wall on ddl_command_end when tag in ('CREATE TABLE') execute function wall()`,
      'walled',
    )
    await expect(serve(cluster.url('walled'))).rejects.toThrow(/token-ledger: .*row-level security/)
  })

  longTest('idle sessions of the database end after a second', async () => {
    await cluster.exec('create database impatient')
    await cluster.exec(`alter database impatient set idle_session_timeout = '1s'`)
    const url = cluster.url('impatient')
    await using server = await serve(url)
    let { refreshToken } = await signIn({ url: server.url, owner: { url } })
    for (let pause = 0; pause < 3; pause++) {
      await sleep(1_500)
      const answer = await auth(server.url, 'refresh', { refreshToken })
      expect(answer.status).toBe(200)
      refreshToken = answer.data.refreshToken
    }
    expect(server.output()).not.toMatch(/"level":(50|60)/)
  })

  longTest('transactions may take five seconds in all', async ({ skip }) => {
    // The setting came with Postgres 17.
    if (version < 17) skip()
    await cluster.exec('create database hasty')
    await cluster.exec(`alter database hasty set transaction_timeout = '5s'`)
    await useAll(cluster.url('hasty'))
  })
})

async function useAll(url: string, env: Record<string, string> = {}): Promise<void> {
  await using server = await serve(url, env)
  await liveALife(server.url, url)
  expect((await command(url, ['ledger', 'verify'])).code).toBe(0)
  expect(server.output()).not.toMatch(/"level":(50|60)/)
}
