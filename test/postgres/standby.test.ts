import { afterAll, beforeAll, describe, expect } from 'vitest'
import {
  command,
  hasDebianPostgres,
  serve,
  startCluster,
  type Cluster,
} from '../support/cluster.ts'
import { longTest, runsLong } from '../support/long.ts'
import { auth } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'
import { startSwitch } from '../support/switch.ts'
import { waitFor } from '../support/wait.ts'

let primary: Cluster
let standby: Cluster

beforeAll(async () => {
  if (!runsLong || !hasDebianPostgres) return
  primary = await startCluster({ version: 15, settings: { wal_level: 'replica' } })
  standby = await startCluster({ version: 15, standbyOf: primary })
}, 60_000)

afterAll(async () => {
  await standby?.[Symbol.asyncDispose]()
  await primary?.[Symbol.asyncDispose]()
})

describe.runIf(hasDebianPostgres)('a standby', () => {
  const urlAt = (port: number) => `postgres://postgres@127.0.0.1:${port}/ledger`

  async function caughtUp(): Promise<void> {
    const at: any = await primary.exec('select pg_current_wal_lsn()::text as lsn')
    await waitFor(async () => {
      const seen: any = await standby.exec(
        `select pg_last_wal_replay_lsn() >= '${at[0].lsn}' as caught_up`,
      )
      return seen[0].caught_up
    }, 'the standby has caught up')
  }

  longTest('as DATABASE_URL stops the start in one line, with and without a ledger', async () => {
    await primary.exec('create database ledger')
    await caughtUp()
    const start = () =>
      serve(standby.url('ledger')).then(
        () => 'started',
        (error: Error) => error.message.trim(),
      )
    const before = await start()
    expect((await command(primary.url('ledger'), ['migrate'])).code).toBe(0)
    await caughtUp()
    for (const line of [before, await start()]) {
      expect(line).toContain('the server is a standby, which is read-only')
      expect(line.split('\n')).toHaveLength(1)
    }
    // Reading a copy is allowed.
    expect((await command(standby.url('ledger'), ['ledger', 'verify'])).code).toBe(0)
  })

  longTest('is never written to: 503 and not ready until the primary is back', async () => {
    await using place = await startSwitch(primary.port)
    await using server = await serve(urlAt(place.port))
    const owner = { url: primary.url('ledger') }
    const { refreshToken } = await signIn({ url: server.url, owner })
    await caughtUp()
    place.pointTo(standby.port)
    place.snap()
    await waitFor(async () => (await fetch(`${server.url}/readyz`)).status === 503, 'not ready')
    for (const procedure of ['refresh', 'logout']) {
      const answer = await auth(server.url, procedure, { refreshToken })
      expect([procedure, answer.status, answer.reason]).toEqual([
        procedure,
        503,
        'service_unavailable',
      ])
    }
    place.pointTo(primary.port)
    await waitFor(async () => (await fetch(`${server.url}/readyz`)).status === 200, 'ready')
    expect((await auth(server.url, 'refresh', { refreshToken })).status).toBe(200)
  })

  longTest('is passed over when it is the first of several hosts', async () => {
    const hosts = `127.0.0.1:${standby.port},127.0.0.1:${primary.port}`
    await using server = await serve(`postgres://postgres@${hosts}/ledger`)
    const owner = { url: primary.url('ledger') }
    const sessions = await Promise.all(
      Array.from({ length: 12 }, () => signIn({ url: server.url, owner })),
    )
    const answers = await Promise.all(
      sessions.map(({ refreshToken }) => auth(server.url, 'refresh', { refreshToken })),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  })

  longTest(
    'that is promoted is used, although the connections to the old primary stay open',
    async () => {
      await using place = await startSwitch(primary.port)
      await using server = await serve(urlAt(place.port))
      await using idle = await serve(urlAt(place.port), {
        PUBLIC_URL: server.url,
        PORT: String(new URL(server.url).port === '' ? 0 : Number(new URL(server.url).port) + 1),
      })
      const owner = { url: primary.url('ledger') }
      const { refreshToken } = await signIn({ url: server.url, owner })
      await caughtUp()
      standby.run('pg_ctl', ['-D', standby.dataFolder, '-w', 'promote'])
      await primary.exec('alter system set default_transaction_read_only = on')
      primary.reload()
      place.pointTo(standby.port)
      const attemptId = crypto.randomUUID()
      await waitFor(
        async () => {
          const answer = await auth(server.url, 'refresh', { refreshToken, attemptId })
          expect([200, 503]).toContain(answer.status)
          return answer.status === 200
        },
        'a refresh is served by the new primary',
        30_000,
      )
      // A process without traffic finds the new primary by the questions to /readyz alone.
      await waitFor(async () => (await fetch(`${idle.url}/readyz`)).status === 200, 'ready', 30_000)
      expect((await auth(idle.url, 'refresh', { refreshToken, attemptId })).status).toBe(200)
      expect((await command(standby.url('ledger'), ['ledger', 'verify'])).code).toBe(0)
    },
  )
})
