import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { isUnavailable } from '../../db/connection/errors.ts'
import { inTransaction } from '../../db/connection/transaction.ts'
import { serve, startCluster, type Cluster } from '../support/cluster.ts'
import { longTest } from '../support/long.ts'
import { auth, query } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'
import { startSwitch, type Manner } from '../support/switch.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster()
  await cluster.exec('create database ledger')
}, 60_000)

afterAll(() => cluster?.[Symbol.asyncDispose]())

const through = (port: number) => cluster.url('ledger').replace(`:${cluster.port}`, `:${port}`)

describe('a server that takes no more connections', () => {
  test('is used on the connections that it has accepted, while others are refused', async () => {
    await using place = await startSwitch(cluster.port)
    const database = connect(through(place.port), { maxConnections: 3 })
    try {
      const pid = () => database.transactions`select pg_backend_pid() as pid`
      const before = await pid()
      place.behave('too many')
      let begun = () => {}
      const running = new Promise<void>((resolve) => (begun = resolve))
      const busy = inTransaction(database.transactions, async (tx) => {
        begun()
        return tx`select pg_sleep(0.5)`
      })
      await running
      const refused = await database.transactions`select 1`.catch((error: unknown) => error)
      expect(isUnavailable(refused)).toBe(true)
      expect(await busy).toHaveLength(1)
      expect(await pid()).toEqual(before)
      place.behave('forward')
      await waitFor(
        () =>
          database.statements`select 1`.then(
            () => true,
            () => false,
          ),
        'a new connection is accepted',
      )
    } finally {
      await database.close()
    }
  })

  const manners: Manner[] = ['close at once', 'close after a message', 'reset', 'too many']
  test.each(manners)(
    '%s: it is asked some times a second, and statements fail at once',
    async (manner) => {
      await using place = await startSwitch(cluster.port)
      const database = connect(through(place.port))
      try {
        await database.transactions`select 1`
        place.behave(manner)
        place.snap()
        place.countAccepted()
        const startedAt = performance.now()
        await Promise.all(
          Array.from({ length: 20 }, async () => {
            while (performance.now() - startedAt < 1_500) {
              const askedAt = performance.now()
              const failed = await database.transactions`select 1`.catch((error: unknown) => error)
              expect(isUnavailable(failed)).toBe(true)
              expect(performance.now() - askedAt).toBeLessThan(1_000)
              await sleep(5)
            }
          }),
        )
        // Of each pool that may connect at the same time before the first refusal is seen, and some later ones.
        expect(place.countAccepted()).toBeLessThan(40)
        place.behave('forward')
        await waitFor(
          () =>
            inTransaction(database.transactions, (tx) => tx`select 1`).then(
              () => true,
              () => false,
            ),
          'the server is used again',
          3_000,
        )
      } finally {
        await database.close()
      }
    },
  )

  longTest(
    'callers are answered 503 within three seconds, and are served once it is back',
    async () => {
      await using place = await startSwitch(cluster.port)
      const url = through(place.port)
      await using server = await serve(url)
      const tokens = await Promise.all(
        Array.from({ length: 6 }, async () => {
          const { refreshToken } = await signIn({ url: server.url, owner: { url } })
          return refreshToken
        }),
      )
      for (const manner of manners) {
        place.behave(manner)
        place.snap()
        place.countAccepted()
        const startedAt = performance.now()
        await Promise.all(
          tokens.map(async (refreshToken) => {
            while (performance.now() - startedAt < 3_000) {
              const askedAt = performance.now()
              const answer = await auth(server.url, 'refresh', { refreshToken })
              expect([manner, answer.status, answer.reason]).toEqual([
                manner,
                503,
                'service_unavailable',
              ])
              expect(answer.headers.get('retry-after')).toBe('1')
              expect(performance.now() - askedAt).toBeLessThan(3_000)
              await sleep(100)
            }
          }),
        )
        expect(place.countAccepted()).toBeLessThan(150)
        place.behave('forward')
        const attemptId = crypto.randomUUID()
        tokens[0] = await waitFor(async () => {
          const { data } = await auth(server.url, 'refresh', { refreshToken: tokens[0], attemptId })
          return data?.refreshToken as string | undefined
        }, 'a refresh is served again')
      }
    },
  )
})

describe('the age of a connection', () => {
  test('ends it between two statements, and neither these nor other connections fail', async () => {
    const database = connect(cluster.url('ledger'), { maxConnections: 6, longestLifeSeconds: 1 })
    try {
      // Longer than the statements of a lost pool get to finish.
      const slow = inTransaction(database.transactions, async (tx) => {
        await tx`select pg_sleep(3.5)`
        return tx`select pg_sleep(3.5)`
      })
      const pids = new Set<number>()
      const startedAt = performance.now()
      while (performance.now() - startedAt < 4_000) {
        const [row] = await database.transactions<{ pid: number }[]>`
          select pg_backend_pid() as pid`
        pids.add(row!.pid)
        await sleep(10)
      }
      expect(pids.size).toBeGreaterThan(2)
      expect(await slow).toHaveLength(1)
    } finally {
      await database.close()
    }
  }, 30_000)
})

describe('a database that was set read-only', () => {
  longTest(
    'writes are 503 with Retry-After, /readyz says so, reads go on, and it recovers',
    async () => {
      const url = cluster.url('ledger')
      await using server = await serve(url)
      const { email } = await makeUser(url)
      const session = await signIn({ url: server.url, owner: { url } }, email)
      const ready = () => fetch(`${server.url}/readyz`)
      const { refreshToken, accessToken } = session
      await cluster.exec('alter system set default_transaction_read_only = on')
      cluster.reload()
      try {
        await waitFor(async () => (await ready()).status === 503, '/readyz is not ready')
        expect(await (await ready()).json()).toMatchObject({
          status: 'not ready',
          reason: 'database_read_only',
        })
        const answers = {
          refresh: await auth(server.url, 'refresh', { refreshToken }),
          login: await auth(server.url, 'login', { email, password: testPassword }),
          register: await auth(server.url, 'register', {
            email: 'new@example.com',
            password: testPassword,
          }),
          logout: await auth(server.url, 'logout', { refreshToken }),
        }
        for (const [name, { status, reason, headers }] of Object.entries(answers))
          expect([name, status, reason, headers.get('retry-after')]).toEqual([
            name,
            503,
            'service_unavailable',
            '1',
          ])
        for (const path of ['me', 'sessions.list'])
          expect([path, (await query(server.url, path, accessToken)).status]).toEqual([path, 200])
      } finally {
        await cluster.exec('alter system reset default_transaction_read_only')
        cluster.reload()
      }
      await waitFor(async () => (await ready()).status === 200, '/readyz is ready')
      expect((await auth(server.url, 'refresh', { refreshToken })).status).toBe(200)
    },
  )
})
