import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { codeOf } from '../../db/connection/errors.ts'
import { safeSearchPath } from '../../db/connection/settings.ts'
import { serve, startCluster, type Cluster } from '../support/cluster.ts'
import { longTest } from '../support/long.ts'

const password = `p@ss/w#rd?x:y%z&[é] "'`
let cluster: Cluster
let certificate: string

beforeAll(async () => {
  cluster = await startCluster({ settings: { listen_addresses: "'127.0.0.1,::1'" } })
  const { dataFolder } = cluster
  certificate = join(dataFolder, 'server.crt')
  const key = join(dataFolder, 'server.key')
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1'
  const made = spawnSync('openssl', [
    'req',
    '-x509',
    '-nodes',
    ...`-newkey rsa:2048 -days 2 -subj /CN=localhost -addext ${names}`.split(' '),
    ...`-keyout ${key} -out ${certificate}`.split(' '),
  ])
  if (made.status !== 0) throw new Error(`openssl: ${made.stderr.toString()}`)
  const { uid, gid } = statSync(dataFolder)
  for (const file of [certificate, key]) chownSync(file, uid, gid)
  chmodSync(key, 0o600)
  await cluster.exec('alter system set ssl = on')
  cluster.reload()
  await cluster.exec(`create role hard login password '${password.replaceAll("'", "''")}'`)
  await cluster.exec('create database "a b"')
})

afterAll(() => cluster[Symbol.asyncDispose]())

/** What a pool that is opened with this string finds. */
async function look(url: string) {
  const database = connect(url, { maxConnections: 1 })
  try {
    const [found] = await database.statements`
      select
        current_database() as database, current_user as user, ssl as "isEncrypted",
        current_setting('application_name') as application,
        current_setting('search_path') as path,
        current_setting('work_mem') as memory
      from pg_stat_ssl
      where pid = pg_backend_pid()`
    return found!
  } finally {
    await database.close()
  }
}

longTest('a host, an IPv6 address, several hosts and a Unix socket are reached', async () => {
  const { port, dataFolder } = cluster
  const folder = dirname(dataFolder)
  for (const place of [
    `127.0.0.1:${port}/postgres`,
    `localhost:${port}/postgres`,
    `[::1]:${port}/postgres`,
    `127.0.0.1:${port},[::1]:${port}/postgres`,
    `127.0.0.1:1,[::1]:${port}/postgres`,
    `${encodeURIComponent(folder)}:${port}/postgres`,
    `/postgres?host=${encodeURIComponent(folder)}&port=${port}`,
  ])
    expect({ place, ...(await look(`postgres://postgres@${place}`)) }).toMatchObject({
      place,
      database: 'postgres',
      user: 'postgres',
      isEncrypted: false,
    })
})

longTest('a name and a password with any characters are sent decoded', async () => {
  const login = `hard:${encodeURIComponent(password)}`
  const found = await look(`postgres://${login}@127.0.0.1:${cluster.port}/a%20b`)
  expect(found).toMatchObject({ database: 'a b', user: 'hard' })
})

longTest('options are sent, and cannot replace what the service sets itself', async () => {
  const options = encodeURIComponent('-c work_mem=8MB -c search_path=public')
  const found = await look(
    `${cluster.url()}?options=${options}&application_name=auth&schema=public&pgbouncer=true`,
  )
  expect(found).toMatchObject({ memory: '8MB', path: safeSearchPath, application: 'auth' })
})

longTest('each sslmode encrypts and verifies as documented', async () => {
  const code = (url: string) => look(url).then((found) => found.isEncrypted, codeOf)
  const at = (host: string, query: string) =>
    code(`postgres://postgres@${host}:${cluster.port}/postgres?${query}`)
  const root = `sslrootcert=${encodeURIComponent(certificate)}`
  expect({
    disable: await at('localhost', 'sslmode=disable'),
    allow: await at('localhost', 'sslmode=allow'),
    prefer: await at('localhost', 'sslmode=prefer'),
    require: await at('localhost', 'sslmode=require'),
    'verify-full without its authority': await at('localhost', 'sslmode=verify-full'),
    'ssl=true without its authority': await at('localhost', 'ssl=true'),
    'channel_binding without its authority': await at(
      'localhost',
      'sslmode=require&channel_binding=require',
    ),
    'verify-full': await at('localhost', `sslmode=verify-full&${root}`),
    'verify-full of an address': await at('127.0.0.1', `sslmode=verify-full&${root}`),
    'verify-full of another name': await at('[::1]', `sslmode=verify-full&${root}`),
    'verify-ca of another name': await at('[::1]', `sslmode=verify-ca&${root}`),
    'require with an authority': await at('[::1]', `sslmode=require&${root}`),
    direct: await at('localhost', `sslmode=verify-full&${root}&sslnegotiation=direct`),
  }).toEqual({
    disable: false,
    allow: true,
    prefer: true,
    require: true,
    'verify-full without its authority': 'DEPTH_ZERO_SELF_SIGNED_CERT',
    'ssl=true without its authority': 'DEPTH_ZERO_SELF_SIGNED_CERT',
    'channel_binding without its authority': 'DEPTH_ZERO_SELF_SIGNED_CERT',
    'verify-full': true,
    'verify-full of an address': true,
    'verify-full of another name': 'ERR_TLS_CERT_ALTNAME_INVALID',
    'verify-ca of another name': true,
    'require with an authority': true,
    direct: true,
  })
})

longTest('the service starts with what libpq reads from the environment', async () => {
  await using server = await serve('postgres://', {
    PGHOST: 'localhost',
    PGPORT: String(cluster.port),
    PGUSER: 'postgres',
    PGDATABASE: 'a b',
    PGSSLMODE: 'verify-full',
    PGSSLROOTCERT: certificate,
    PGTARGETSESSIONATTRS: 'any',
    PGCHANNELBINDING: 'prefer',
    PGAPPNAME: 'auth',
  })
  const [found] = await cluster.exec(`
    select count(*)::integer as connections, bool_and(ssl) as encrypted
    from pg_stat_activity join pg_stat_ssl using (pid)
    where datname = 'a b' and application_name = 'auth'`)
  expect(found).toMatchObject({ encrypted: true })
  expect(found.connections).toBeGreaterThan(0)
  expect(server.output()).not.toContain('"level":50')
})
