import { afterAll, beforeAll, describe, expect } from 'vitest'
import { pinnedSettings } from '../../db/connection/settings.ts'
import { command, serve, startCluster, type Cluster } from '../support/cluster.ts'
import { longTest, runsLong } from '../support/long.ts'
import { hasPgBouncer, startPgBouncer } from '../support/pgbouncer.ts'

let cluster: Cluster

beforeAll(async () => {
  if (!runsLong || !hasPgBouncer) return
  cluster = await startCluster()
  await cluster.exec('create database ledger')
  await command(cluster.url('ledger'), ['migrate'])
})

afterAll(() => cluster?.[Symbol.asyncDispose]())

/** Everything that the service sends with its connection, and what drivers send besides. */
const ignored = [
  ...Object.keys(pinnedSettings),
  'role',
  'plan_cache_mode',
  'statement_timeout',
  'lock_timeout',
  'synchronous_commit',
  'idle_in_transaction_session_timeout',
  'tcp_keepalives_idle',
  'tcp_keepalives_interval',
  'tcp_keepalives_count',
].join(',')

const poolers = [
  ['in transaction mode, as it comes', { pool_mode: 'transaction' }],
  [
    'in transaction mode, without the settings',
    { pool_mode: 'transaction', ignore_startup_parameters: ignored },
  ],
  [
    'in session mode, without the settings',
    { pool_mode: 'session', ignore_startup_parameters: ignored },
  ],
] as const

describe.runIf(hasPgBouncer).each(poolers)('PgBouncer %s', (_name, lines) => {
  const advice = 'set DATABASE_URL and MIGRATION_DATABASE_URL to Postgres itself'

  longTest('a start is refused in one line that names what to set', async () => {
    await using pooler = await startPgBouncer(cluster, lines)
    const refused = await serve(pooler.url('ledger')).then(
      () => 'started',
      (error: Error) => error.message.trim(),
    )
    expect(refused).toContain(advice)
    expect(refused.split('\n')).toHaveLength(1)
  })

  longTest('commands are refused, and `sql` reads no password hash', async () => {
    await using pooler = await startPgBouncer(cluster, lines)
    const url = pooler.url('ledger')
    for (const args of [['sql', 'select current_user'], ['ledger', 'verify'], ['migrate']]) {
      const done = await command(url, args)
      expect([args[0], done.code, done.stdout]).toEqual([args[0], 2, ''])
      expect(done.stderr).toContain(advice)
    }
  })

  longTest('a start at Postgres itself finds nothing that the pooler kept', async () => {
    await using pooler = await startPgBouncer(cluster, lines)
    await command(pooler.url('ledger'), ['migrate'])
    await using server = await serve(cluster.url('ledger'))
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
  })
})
