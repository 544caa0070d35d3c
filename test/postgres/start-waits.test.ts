import { once } from 'node:events'
import { createServer } from 'node:net'
import { afterAll, beforeAll, expect } from 'vitest'
import { command, serve, startCluster, type Cluster } from '../support/cluster.ts'
import { longTest } from '../support/long.ts'
import { run, withoutWaits } from '../support/run.ts'
import { testSecret } from '../support/server.ts'
import { waitFor } from '../support/wait.ts'

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster()
})

afterAll(() => cluster[Symbol.asyncDispose]())

longTest(
  'a migration that waits for a lock says who holds it, and goes on afterwards',
  async () => {
    await cluster.exec('create database locked')
    const holder = await cluster.sql('locked').reserve()
    const [backend] = await holder<{ pid: number }[]>`select pg_backend_pid() as pid`
    await holder`select pg_advisory_lock(hashtextextended('token_ledger.migrate', 0))`
    const migrating = command(cluster.url('locked'), ['migrate'])
    // For longer than the two seconds after which it speaks.
    setTimeout(() => void holder`select pg_advisory_unlock_all()`.execute(), 6_000)
    const { code, stderr } = await migrating
    holder.release()
    expect(code).toBe(0)
    expect(stderr).toMatch(
      new RegExp(
        `^token-ledger: waiting for pid ${backend?.pid}, user postgres, application "[^\n]*\n`,
      ),
    )
    expect(stderr.match(/waiting/g)).toHaveLength(1)
  },
)

longTest('a migration that waits for a table says who holds it', async () => {
  const url = cluster.url('locked')
  await command(url, ['migrate'])
  const holder = await cluster.sql('locked').reserve()
  await holder`begin`
  await holder`lock table token_ledger_migrations.applied in access exclusive mode`
  const migrating = command(url, ['migrate'])
  await waitFor(async () => {
    const waiting = await cluster.exec(
      `select from pg_stat_activity where application_name = 'token-ledger migrate' and wait_event_type = 'Lock'`,
    )
    return waiting.length > 0
  })
  setTimeout(() => void holder`rollback`.execute(), 4_000)
  expect((await migrating).stderr).toMatch(/^token-ledger: waiting for pid \d+, user postgres/)
  holder.release()
})

longTest('a start at a database that does not answer says so, and is given up', async () => {
  const silent = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as { port: number }
  const { code, stderr } = await run('server/main.ts', [], {
    env: { DATABASE_URL: `postgres://u:hunter2@127.0.0.1:${port}/x`, AUTH_SECRET: testSecret },
  })
  silent.close()
  expect(code).toBe(1)
  const [waiting, gaveUp, ...others] = stderr.trimEnd().split('\n')
  expect(waiting).toBe(`token-ledger: waiting for the database x at 127.0.0.1:${port}`)
  expect(gaveUp).toMatch(/^token-ledger: cannot use the database x at 127\.0\.0\.1:\d+: no answer/)
  expect(others).toEqual([])
})

longTest(
  'a database of another encoding is refused at the start, and is not migrated',
  async () => {
    for (const encoding of ['LATIN1', 'EUC_JP']) {
      const name = `of_${encoding.toLowerCase()}`
      await cluster.exec(
        `create database ${name} encoding '${encoding}' locale 'C' template template0`,
      )
      const env = { DATABASE_URL: cluster.url(name), AUTH_SECRET: testSecret }
      const { code, stderr } = await run('server/main.ts', [], { env })
      expect(code).toBe(1)
      expect(withoutWaits(stderr)).toMatch(
        new RegExp(`^token-ledger: the encoding of the database is ${encoding}[^\n]+\n$`),
      )
      const schemas = await cluster.exec(
        `select from pg_namespace where nspname like 'token_%'`,
        name,
      )
      expect(schemas).toHaveLength(0)
      const migrated = await command(cluster.url(name), ['migrate'])
      expect(migrated).toMatchObject({ code: 2 })
      expect(withoutWaits(migrated.stderr)).toMatch(/^the encoding of the database is [^\n]+\n$/)
    }
  },
)

longTest('a database without an encoding is served', async () => {
  await cluster.exec(`create database of_ascii encoding 'SQL_ASCII' locale 'C' template template0`)
  await using server = await serve(cluster.url('of_ascii'))
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
})

longTest('a ledger that an older version made in another encoding is refused as well', async () => {
  await cluster.exec(`create database of_old encoding 'UTF8' locale 'C' template template0`)
  const url = cluster.url('of_old')
  await command(url, ['migrate'])
  const latin1 = 8
  await cluster.exec(`update pg_database set encoding = ${latin1} where datname = 'of_old'`)
  const env = { DATABASE_URL: url, AUTH_SECRET: testSecret }
  const { code, stderr } = await run('server/main.ts', [], { env })
  expect(code).toBe(1)
  expect(withoutWaits(stderr)).toMatch(
    /^token-ledger: the encoding of the database is LATIN1[^\n]+\n$/,
  )
})
