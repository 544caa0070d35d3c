import { describe, expect, test } from 'vitest'
import { command, postgresVersions, serve, startCluster } from '../support/cluster.ts'
import { auth } from '../support/http.ts'
import { makeUser, testPassword } from '../support/users.ts'

describe.each(postgresVersions)('Postgres %i', (version) => {
  test('a session is begun, refreshed and ended, and the ledger verifies', async () => {
    await using cluster = await startCluster({ version })
    await cluster.exec('create database ledger')
    const url = cluster.url('ledger')
    await using server = await serve(url)
    const { email } = await makeUser(url)
    const login = await auth(server.url, 'login', {
      email,
      password: testPassword,
      transport: 'body',
    })
    expect(login.status).toBe(200)
    const refreshed = await auth(server.url, 'refresh', { refreshToken: login.data.refreshToken })
    expect(refreshed.status).toBe(200)
    const { refreshToken } = refreshed.data
    expect((await auth(server.url, 'logout', { refreshToken })).data).toMatchObject({ revoked: 1 })
    expect((await command(url, ['ledger', 'verify'])).code).toBe(0)
  })
})
