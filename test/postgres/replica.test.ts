import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import {
  command,
  hasDebianPostgres,
  postgresVersions,
  serve,
  startCluster,
  type Cluster,
} from '../support/cluster.ts'
import { longTest } from '../support/long.ts'
import { auth } from '../support/http.ts'
import type { ServerProcess } from '../support/server.ts'
import { sqlStateOf } from '../support/ledger-rows.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

const tables =
  'token_family token_event open_family replay_suspicion user_account user_epoch user_subject ' +
  'admin_action signing_key signing_key_removal turn incarnation log_leaf log_node log_checkpoint log_key'

/** Every row of the ledger, byte for byte. */
async function contentOf(cluster: Cluster): Promise<Record<string, string[]>> {
  const content: Record<string, string[]> = {}
  for (const table of tables.split(' ')) {
    const rows = await cluster.exec(
      `select t::text as row from token_ledger.${table} t order by 1`,
      'ledger',
    )
    content[table] = rows.map(({ row }: { row: string }) => row)
  }
  return content
}

async function signIn(url: string, email: string | null): Promise<string> {
  const login = await auth(url, 'login', { email, password: testPassword, transport: 'body' })
  expect(login.status).toBe(200)
  return login.data.refreshToken
}

async function refresh(url: string, refreshToken: string, times = 1): Promise<string> {
  for (let i = 0; i < times; i++) {
    const answer = await auth(url, 'refresh', { refreshToken })
    expect(answer.status).toBe(200)
    refreshToken = answer.data.refreshToken
  }
  return refreshToken
}

/**
 * A ledger with sessions of every end and an erased person, whose first events lie behind newer ones on the disk: the
 * erasure left room in front that later events fill.
 *
 * @returns the refresh token of a session that goes on, and its user
 */
async function makeHistory(primary: Cluster, url: string) {
  const ledgerUrl = primary.url('ledger')
  const [gone, staying, other] = await Promise.all([1, 2, 3].map(() => makeUser(ledgerUrl)))
  await refresh(url, await signIn(url, gone!.email), 12)
  let token = await refresh(url, await signIn(url, staying!.email), 3)
  await auth(url, 'logout', { refreshToken: await refresh(url, await signIn(url, other!.email)) })
  const spent = await signIn(url, other!.email)
  await refresh(url, spent, 2)
  expect((await auth(url, 'refresh', { refreshToken: spent })).reason).toBe('refresh_token_reused')
  const repeated = { refreshToken: token, attemptId: '6f9e4d0c-8a3b-4c1d-9e2f-0123456789ab' }
  await auth(url, 'refresh', repeated)
  token = (await auth(url, 'refresh', repeated)).data.refreshToken
  expect((await command(ledgerUrl, ['user', 'erase', gone!.email])).code).toBe(0)
  await primary.exec('vacuum token_ledger.token_event', 'ledger')
  token = await refresh(url, token, 12)
  const [onDisk] = await primary.exec(
    `select bool_or(later.seq < e.seq) as is_mixed
     from token_ledger.token_event e
     join token_ledger.token_event later on later.family_id = e.family_id and later.tableoid = e.tableoid
       and later.ctid > e.ctid`,
    'ledger',
  )
  expect(onDisk.is_mixed).toBe(true)
  return { token, staying: staying!, other: other! }
}

const verify = (cluster: Cluster) => command(cluster.url('ledger'), ['ledger', 'verify', '--json'])

describe.each(postgresVersions)('a logical replica on Postgres %i', (version) => {
  let primary: Cluster
  let replica: Cluster
  let server: ServerProcess
  let history: Awaited<ReturnType<typeof makeHistory>>
  const sameContent = () =>
    waitFor(async () => {
      const [theirs, ours] = await Promise.all([contentOf(primary), contentOf(replica)])
      return JSON.stringify(theirs) === JSON.stringify(ours)
    }, 'the replica holds what the primary holds')

  beforeAll(async () => {
    const settings = { wal_level: 'logical' }
    primary = await startCluster({ version, settings })
    replica = await startCluster({ version, settings })
    for (const cluster of [primary, replica]) await cluster.exec('create database ledger')
    server = await serve(primary.url('ledger'))
    history = await makeHistory(primary, server.url)
  })
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]()
    await replica?.[Symbol.asyncDispose]()
    await primary?.[Symbol.asyncDispose]()
  })

  longTest('the first copy comes in the order of the disk, and holds the same bytes', async () => {
    expect((await command(replica.url('ledger'), ['migrate'])).code).toBe(0)
    await primary.exec(
      `create publication ledger for tables in schema token_ledger
       with (publish_via_partition_root = true)`,
      'ledger',
    )
    await replica.exec(
      `create subscription ledger connection '${primary.url('ledger')}' publication ledger`,
      'ledger',
    )
    await sameContent()
    await waitFor(async () => {
      const copying = await replica.exec(
        `select from pg_subscription_rel where srsubstate <> 'r'`,
        'ledger',
      )
      return copying.length === 0
    }, 'every table is copied')
    expect((await verify(replica)).stdout).toBe((await verify(primary)).stdout)
  })

  longTest('what happens later arrives: sign-ins, refreshes, ends and an erasure', async () => {
    history.token = await refresh(server.url, history.token, 3)
    await refresh(server.url, await signIn(server.url, history.staying.email), 2)
    await signIn(server.url, history.other.email)
    const ledgerUrl = primary.url('ledger')
    expect((await command(ledgerUrl, ['user', 'erase', history.other.email])).code).toBe(0)
    await sameContent()
    expect((await verify(replica)).stdout).toBe((await verify(primary)).stdout)
  })

  longTest('rows that move to a month on the primary disturb nothing', async () => {
    const { email, id } = await makeUser(primary.url('ledger'))
    await primary.exec(
      `create or replace function token_ledger.clock() returns timestamptz language sql volatile
       return date_trunc('milliseconds', clock_timestamp() + interval '150 days')`,
      'ledger',
    )
    await signIn(server.url, email)
    await primary.exec(
      `create or replace function token_ledger.clock() returns timestamptz language sql
       return date_trunc('milliseconds', clock_timestamp())`,
      'ledger',
    )
    await sameContent()
    await primary.exec('select token_ledger.ensure_partitions(6)', 'ledger')
    history.token = await refresh(server.url, history.token)
    await primary.exec(`delete from token_ledger.user_account where user_id = '${id}'`, 'ledger')
    await sameContent()
    await replica.exec('select token_ledger.ensure_partitions(6)', 'ledger')
    history.token = await refresh(server.url, history.token)
    await sameContent()
    const [left] = await replica.exec(
      'select count(*)::integer as rows from token_ledger.token_event_default',
      'ledger',
    )
    expect(left.rows).toBe(0)
  })

  longTest('after the promotion the guards stand, and the service goes on', async () => {
    await server[Symbol.asyncDispose]()
    await sameContent()
    await replica.exec('drop subscription ledger', 'ledger')
    await using promoted = await serve(replica.url('ledger'))
    history.token = await refresh(promoted.url, history.token)
    await signIn(promoted.url, history.staying.email)
    const demoted = await makeUser(replica.url('ledger'))
    const act = await command(replica.url('ledger'), ['user', 'disable', demoted.email])
    expect(act.stderr + act.stdout).not.toContain('duplicate')
    expect(act.code).toBe(0)
    for (const change of [
      'delete from token_ledger.token_event',
      'truncate token_ledger.token_event',
      'update token_ledger.token_event set generation = generation + 1',
      'delete from token_ledger.token_family',
    ])
      expect(await sqlStateOf(replica.exec(change, 'ledger'))).toBe('TL001')
    const again = `
      insert into token_ledger.token_event (family_id, seq, kind, generation, occurred_at, reason, hash, origin_hash)
      select family_id, seq + 1000, 'revoked', generation, occurred_at, 'logout', hash, origin_hash
      from token_ledger.token_event where kind = 'issued' limit 1`
    expect(await sqlStateOf(replica.exec(again, 'ledger'))).toBe('TL002')
    expect((await verify(replica)).code).toBe(0)
  })
})

describe.runIf(hasDebianPostgres)('a dump of the data alone', () => {
  let primary: Cluster
  let token: string
  beforeAll(async () => {
    primary = await startCluster({ version: 15 })
    await primary.exec('create database ledger')
    await using server = await serve(primary.url('ledger'))
    token = (await makeHistory(primary, server.url)).token
  })
  afterAll(() => primary?.[Symbol.asyncDispose]())

  for (const version of postgresVersions)
    longTest(`is restored byte for byte on Postgres ${version}`, async () => {
      await using restored = await startCluster({ version })
      await restored.exec('create database ledger')
      expect((await command(restored.url('ledger'), ['migrate'])).code).toBe(0)
      const file = join(dirname(primary.dataFolder), `${version}.dump`)
      const what = ['--data-only', '--schema=token_ledger', '--load-via-partition-root']
      primary.run('pg_dump', [...what, '--format=custom', `--file=${file}`, primary.url('ledger')])
      const asReplica = `${restored.url('ledger')}?options=-csession_replication_role%3Dreplica`
      primary.run('pg_restore', ['--data-only', '--exit-on-error', '--dbname', asReplica, file])
      expect(await contentOf(restored)).toEqual(await contentOf(primary))
      expect((await verify(restored)).stdout).toBe((await verify(primary)).stdout)
      await using server = await serve(restored.url('ledger'))
      await refresh(server.url, token)
      expect((await verify(restored)).code).toBe(0)
    })
})
