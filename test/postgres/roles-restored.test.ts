import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { migrate } from '../../db/migrate.ts'
import { readFacts } from '../schema/facts.ts'
import {
  command,
  hasDebianPostgres,
  postgresVersions,
  serve,
  startCluster,
  type Cluster,
} from '../support/cluster.ts'
import { longTest, runsLong } from '../support/long.ts'
import { auth } from '../support/http.ts'
import { startServer } from '../support/server.ts'
import { makeUser, testPassword } from '../support/users.ts'

const isRun = hasDebianPostgres && runsLong

let source: Cluster
let dump: string
const email = 'ada@example.com'
let refreshToken: string
beforeAll(async () => {
  if (!isRun) return
  source = await startCluster({ version: 15 })
  await source.exec('create database auth')
  await using server = await serve(source.url('auth'))
  await makeUser(source.url('auth'), email)
  refreshToken = (await signIn(server.url)).data.refreshToken
  dump = join(source.dataFolder, 'auth.dump')
  source.run('pg_dump', ['--format=custom', `--file=${dump}`, source.url('auth')])
})
afterAll(() => source?.[Symbol.asyncDispose]())

describe.runIf(hasDebianPostgres).each(postgresVersions)(
  'a backup on a new Postgres %i',
  (version) => {
    let cluster: Cluster
    beforeAll(async () => {
      if (!isRun) return
      cluster = await startCluster({ version })
      await cluster.exec('create role deploy login createrole')
      await cluster.exec('create database fresh owner deploy')
    })
    afterAll(() => cluster?.[Symbol.asyncDispose]())

    /** Without the names of the roles, which each ledger has for itself, and of the owner, who granted the rights. */
    async function facts(database: string): Promise<string[]> {
      const found = await readFacts(cluster.sql(database))
      return found
        .map((fact) => fact.replaceAll(/(token_ledger_(?:app|auditor))\w*(=\w+)\/\w+/g, '$1$2'))
        .toSorted()
    }

    /** Of a ledger that was never restored. */
    async function dueFacts(): Promise<string[]> {
      await migrate(cluster.url('fresh', 'deploy'))
      return facts('fresh')
    }

    /** With what a login without superuser may restore: its own database. */
    async function restored(name: string, options: readonly string[]) {
      await cluster.exec(`create database ${name} owner deploy`)
      const owner = cluster.url(name, 'deploy')
      source.run('pg_restore', [`--dbname=${owner}`, ...options, dump], { mayFail: true })
      const service = cluster.url(name, `${name}_service`)
      return { owner, service, env: { MIGRATION_DATABASE_URL: owner, DATABASE_URL: service } }
    }

    // First, because the cluster has no roles yet.
    longTest('before migrate, a command says what to do', async () => {
      const { owner } = await restored('too_early', ['--no-owner', '--no-privileges'])
      for (const args of [
        ['ledger', 'verify'],
        ['sql', 'select 1 from token_audit.events'],
      ])
        expect(await command(owner, args)).toEqual({
          code: 2,
          stdout: '',
          stderr: expect.stringMatching(/^[^\n]*: run `token-ledger migrate`\n$/),
        })
    })

    for (const [what, name, options] of [
      ['as it comes', 'plain', []],
      ['without owners and rights', 'stripped', ['--no-owner', '--no-privileges']],
    ] as const)
      longTest(`restored ${what}, it is whole after migrate, and clients go on`, async () => {
        const { owner, service, env } = await restored(name, options)
        expect(await command(owner, ['migrate'], env)).toMatchObject({ code: 0 })
        expect(await facts(name)).toEqual(await dueFacts())
        expect(await command(owner, ['ledger', 'verify'], env)).toMatchObject({ code: 0 })
        expect(await command(owner, ['sql', 'select 1'], env)).toMatchObject({ code: 0 })
        await using server = await startServer(service, { DATABASE_URL: service })
        expect((await auth(server.url, 'refresh', { refreshToken })).status).toBe(200)
      })

    longTest('the drill of the guide ends every session, and users sign in again', async () => {
      const { owner, service, env } = await restored('drill', ['--no-owner', '--no-privileges'])
      const at = new Date(Date.now() - 1000).toISOString()
      for (const args of [
        ['migrate'],
        ['ledger', 'verify'],
        ['ledger', 'restored', '--at', at],
        ['ledger', 'verify'],
      ])
        expect({ args, ...(await command(owner, args, env)) }).toMatchObject({ args, code: 0 })
      await using server = await startServer(service, { DATABASE_URL: service })
      expect((await auth(server.url, 'refresh', { refreshToken })).status).toBe(401)
      expect((await signIn(server.url)).status).toBe(200)
    })

    longTest('a start with the login of the owner does the same by itself', async () => {
      const { owner } = await restored('one_login', ['--no-owner', '--no-privileges'])
      await using server = await serve(owner)
      expect((await auth(server.url, 'refresh', { refreshToken })).status).toBe(200)
    })

    longTest(
      'guards that --disable-triggers left weaker are always enabled after migrate',
      async () => {
        await cluster.exec('create database rows_only')
        const url = cluster.url('rows_only')
        expect((await command(url, ['migrate'])).code).toBe(0)
        const options = ['--data-only', '--disable-triggers', '--schema=token_ledger']
        source.run('pg_restore', [`--dbname=${url}`, ...options, dump], { mayFail: true })
        expect(await facts('rows_only')).not.toEqual(await dueFacts())
        expect((await command(url, ['migrate'])).code).toBe(0)
        expect(await facts('rows_only')).toEqual(await dueFacts())
      },
    )
  },
)

function signIn(url: string) {
  return auth(url, 'login', { email, password: testPassword, transport: 'body' })
}
