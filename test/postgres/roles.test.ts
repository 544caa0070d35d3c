import { afterAll, beforeAll, describe, expect } from 'vitest'
import { auth } from '../support/http.ts'
import { command, postgresVersions, serve, startCluster, type Cluster } from '../support/cluster.ts'
import { longTest, runsLong } from '../support/long.ts'
import { makeUser, testPassword } from '../support/users.ts'

describe.each(postgresVersions)(
  'Postgres %i: an owner with CREATEROLE and no superuser',
  (version) => {
    let cluster: Cluster
    beforeAll(async () => {
      if (!runsLong) return
      cluster = await startCluster({ version })
      await cluster.exec('create role deploy login createrole')
    })
    afterAll(() => cluster?.[Symbol.asyncDispose]())

    async function owned(name: string): Promise<string> {
      await cluster.exec(`create database ${name} owner deploy`)
      return cluster.url(name, 'deploy')
    }

    longTest(
      'starts the service at the first try and at the second, and runs every command',
      async () => {
        const url = await owned('first')
        {
          await using server = await serve(url)
          await usable(server.url, url)
          await makeUser(url, 'ada@example.com')
        }
        for (const args of [
          ['sessions', 'list'],
          ['ledger', 'verify'],
          ['sql', 'select count(*) from token_audit.events'],
          ['user', 'erase', 'ada@example.com'],
          ['keys', 'rotate'],
        ])
          expect({ args, ...(await command(url, args)) }).toMatchObject({ args, code: 0 })
        await using server = await serve(url)
        await usable(server.url, url)
      },
    )

    longTest('whose right to take the roles is lost gets it back at the next start', async () => {
      const url = await owned('second')
      expect((await command(url, ['migrate'])).code).toBe(0)
      const roles = ['token_ledger_app', 'token_ledger_auditor']
      for (const role of roles)
        await cluster.exec(`set role deploy; revoke ${role} from deploy granted by deploy`)
      await using server = await serve(url)
      await usable(server.url, url)
      expect((await command(url, ['sql', 'select 1'])).code).toBe(0)
    })
  },
)

async function usable(serverUrl: string, databaseUrl: string): Promise<void> {
  const { email } = await makeUser(databaseUrl)
  const login = await auth(serverUrl, 'login', {
    email,
    password: testPassword,
    transport: 'body',
  })
  const { refreshToken } = login.data
  expect((await auth(serverUrl, 'refresh', { refreshToken })).status).toBe(200)
}
