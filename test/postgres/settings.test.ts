import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { pinnedSettings } from '../../db/connection/settings.ts'
import { postgresVersions, serve, startCluster, type Cluster } from '../support/cluster.ts'
import { longTest } from '../support/long.ts'
import { auth } from '../support/http.ts'
import { liveALife } from '../support/life.ts'
import { signIn } from '../support/sessions.ts'
import { waitFor } from '../support/wait.ts'

/** What a DBA, a provider or another application of the cluster may have set. */
const settings: readonly (readonly [name: string, value: string])[] = [
  ['bytea_output', 'escape'],
  ['DateStyle', 'German'],
  ['DateStyle', 'SQL, DMY'],
  ['DateStyle', 'ISO, DMY'],
  ['IntervalStyle', 'iso_8601'],
  ['TimeZone', 'Asia/Kathmandu'],
  ['extra_float_digits', '-15'],
  ['extra_float_digits', '0'],
  ['standard_conforming_strings', 'off'],
  ['search_path', 'nowhere'],
  ['statement_timeout', '3s'],
  ['lock_timeout', '50ms'],
  ['default_transaction_deferrable', 'on'],
  ['array_nulls', 'off'],
  ['row_security', 'off'],
  ['synchronous_commit', 'off'],
  ['plan_cache_mode', 'force_custom_plan'],
  ['transform_null_equals', 'on'],
  ['quote_all_identifiers', 'on'],
  ['check_function_bodies', 'off'],
  ['jit_above_cost', '0'],
  ['lc_numeric', 'C'],
  ['client_encoding', 'LATIN1'],
  ['enable_partition_pruning', 'off'],
  ['constraint_exclusion', 'on'],
  ['default_tablespace', ''],
  ['work_mem', '64kB'],
  ['session_replication_role', 'replica'],
  ['idle_in_transaction_session_timeout', '200ms'],
  ['default_transaction_isolation', 'serializable'],
  ['default_transaction_isolation', 'repeatable read'],
]

/** `pg_settings` does not list those that only this ledger knows. */
const listed = Object.entries(pinnedSettings).filter(([name]) => !name.includes('.'))

/** As many at a time as do not name the same setting twice. */
const rounds: (typeof settings)[] = []
for (const setting of settings) {
  const free = rounds.findIndex((round) => round.every(([name]) => name !== setting[0]))
  if (free === -1) rounds.push([setting])
  else rounds[free] = [...rounds[free]!, setting]
}

test('no setting that changes what statements read, cost or promise is left to the database', () => {
  expect(Object.keys(pinnedSettings).toSorted()).toEqual([
    'DateStyle',
    'IntervalStyle',
    'bytea_output',
    'default_transaction_isolation',
    'extra_float_digits',
    'jit',
    'row_security',
    'search_path',
    'standard_conforming_strings',
    'token_ledger.appends',
  ])
})

describe.each(postgresVersions)('Postgres %i', (version) => {
  let cluster: Cluster

  beforeAll(async () => {
    cluster = await startCluster({ version, settings: { max_connections: '60' } })
  }, 60_000)

  afterAll(() => cluster?.[Symbol.asyncDispose]())

  test('a connection keeps its settings, whatever is set for the database, and reloaded', async () => {
    await cluster.exec('create database pinned')
    const database = connect(cluster.url('pinned'), { maxConnections: 1 })
    try {
      const read = async () => {
        const rows = await database.statements<{ name: string; setting: string; source: string }[]>`
          select name, current_setting(name) as setting, source
          from pg_settings
          where name = any(${listed.map(([name]) => name)})`
        return Object.fromEntries(rows.map((row) => [row.name, [row.setting, row.source]]))
      }
      const expected = Object.fromEntries(listed.map(([name, value]) => [name, [value, 'client']]))
      expect(await read()).toEqual(expected)
      for (const [name, value] of rounds[0]!)
        if (name in pinnedSettings) await cluster.exec(`alter system set ${name} = '${value}'`)
      cluster.reload()
      const [probe] = [cluster.sql('pinned')]
      await waitFor(
        async () => (await probe`show bytea_output`)[0]?.['bytea_output'] === 'escape',
        'the configuration was read again',
      )
      expect(await read()).toEqual(expected)
    } finally {
      await database.close()
      await cluster.exec('alter system reset all')
      cluster.reload()
    }
  })

  longTest.each(rounds.map((round, at) => [at, round] as const))(
    'a session lives the same life under all of these settings of the database (%#)',
    { timeout: 120_000 },
    async (at, round) => {
      const name = `round_${at}`
      await cluster.exec(`create database ${name}`)
      for (const [setting, value] of round)
        await cluster.exec(`alter database ${name} set ${setting} = '${value}'`)
      await using server = await serve(cluster.url(name))
      await liveALife(server.url, cluster.url(name))
    },
  )

  longTest('a session lives on when settings are changed for the whole server', async () => {
    await cluster.exec('create database reloaded')
    const url = cluster.url('reloaded')
    await using server = await serve(url)
    const session = await signIn({ url: server.url, owner: { url } })
    const attemptId = crypto.randomUUID()
    const refresh = () =>
      auth(server.url, 'refresh', { refreshToken: session.refreshToken, attemptId })
    const first = await refresh()
    for (const [setting, value] of rounds[0]!)
      if (setting in pinnedSettings) await cluster.exec(`alter system set ${setting} = '${value}'`)
    cluster.reload()
    const probe = cluster.sql('reloaded')
    await waitFor(
      async () => (await probe`show bytea_output`)[0]?.['bytea_output'] === 'escape',
      'the configuration was read again',
    )
    try {
      const again = await refresh()
      expect([again.status, again.data?.refreshToken]).toEqual([200, first.data.refreshToken])
      await liveALife(server.url, url)
    } finally {
      await cluster.exec('alter system reset all')
      cluster.reload()
    }
  })
})
