import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { makeQuickFolder } from '../support/quick-folder.ts'
import { waitFor } from '../support/wait.ts'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { canServe } from '../../db/migrate.ts'
import { checkDatabaseLogin } from '../../server/config/database-login.ts'
import { migrateWithErrors } from '../../server/config/database-url.ts'
import {
  reachEmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../server/embedded-postgres/start.ts'
import { sqlStateOf } from '../support/ledger-rows.ts'
import {
  childrenOf,
  isProcessAlive,
  type OwnerProcess,
  postmasterPidIn,
  processesOn,
  startOwner,
} from '../support/owner-process.ts'

const onLinux = process.platform === 'linux'
const asRoot = process.getuid?.() === 0

let started: string
let dataDir: string
let owners: OwnerProcess[]

beforeAll(async () => {
  started = makeDataDir()
  const database = await startEmbeddedPostgres({ dataDir: started })
  await database.stop()
})

afterAll(() => rmSync(started, { recursive: true }))

beforeEach(() => {
  dataDir = makeDataDir()
  // A copy of a started cluster, owners included: initdb is most of the time of a start.
  spawnSync('cp', ['-a', join(started, 'postgres'), dataDir])
  owners = []
})

afterEach(async () => {
  await Promise.all(owners.map((owner) => owner.stop()))
  if (onLinux) await waitFor(() => processesOn(dataDir).length === 0, 'Postgres is gone')
  rmSync(dataDir, { recursive: true, force: true })
})

function makeDataDir(): string {
  const made = makeQuickFolder('token-ledger-embedded-')
  // Also for the user as whom Postgres runs when root starts it.
  chmodSync(made, 0o711)
  return made
}

function start(): OwnerProcess {
  const owner = startOwner(dataDir)
  owners.push(owner)
  return owner
}

async function query(url: string, text: string): Promise<readonly object[]> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    return [...(await sql.unsafe(text))]
  } finally {
    await sql.end()
  }
}

test('data outlives a stop and a start, and stop may be called again', async () => {
  const first = await startEmbeddedPostgres({ dataDir })
  await query(first.url, 'create table mark as select 42 as answer')
  await Promise.all([first.stop(), first.stop()])
  await first.stop()
  await expect(query(first.url, 'select 1')).rejects.toMatchObject({ code: 'ENOENT' })

  const second = await startEmbeddedPostgres({ dataDir, settings: { max_connections: '7' } })
  expect(await query(second.url, 'select answer from mark')).toEqual([{ answer: 42 }])
  expect(await query(second.url, 'show max_connections')).toEqual([{ max_connections: '7' }])
  await second.stop()
})

test('the database uses UTF-8, sorts the same everywhere, and listens on no port', async () => {
  const database = await startEmbeddedPostgres({ dataDir })
  const [found] = await query(
    database.url,
    `select current_database() as name, pg_encoding_to_char(encoding) as encoding, datlocale,
       current_setting('listen_addresses') as addresses, current_setting('data_checksums') as checksums
     from pg_database
     where datname = current_database()`,
  )
  await database.stop()
  expect(found).toEqual({
    name: 'token_ledger',
    encoding: 'UTF8',
    datlocale: 'C.UTF-8',
    addresses: '',
    checksums: 'on',
  })
})

test('a killed owner leaves no Postgres behind, and committed data is there at the next start', async () => {
  const first = start()
  await query(await first.url, 'create table mark as select 42 as answer')
  const postmaster = postmasterPidIn(dataDir)
  await first.kill('SIGKILL')

  // At once: the next start has to wait for the old Postgres by itself.
  const second = start()
  expect(await query(await second.url, 'select answer from mark')).toEqual([{ answer: 42 }])
  expect(isProcessAlive(postmaster)).toBe(false)

  await second.kill('SIGKILL')
  await waitFor(
    () => !existsSync(join(dataDir, 'postgres/cluster/postmaster.pid')),
    'Postgres is gone',
  )
  if (onLinux) await waitFor(() => processesOn(dataDir).length === 0, 'its guard is gone')
})

test('an interrupt from the terminal does not stop the database of an owner that is draining', async () => {
  const owner = start()
  const url = await owner.url
  process.kill(-owner.pid, 'SIGINT')
  await waitFor(() => owner.stderr().includes('draining'), 'the owner drains')
  // A Postgres that got the same interrupt would refuse the next connections.
  for (let i = 0; i < 20; i++) expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }])
  await owner.stop()
  expect(owner.stderr()).not.toContain('exited unexpectedly')
  await expect(query(url, 'select 1')).rejects.toMatchObject({ code: 'ENOENT' })
})

test('a Postgres that dies is started again', async () => {
  const owner = start()
  const url = await owner.url
  const postmaster = postmasterPidIn(dataDir)
  process.kill(postmaster, 'SIGKILL')
  await waitFor(() => owner.stderr().includes('exited unexpectedly'), 'the owner says so')
  await waitFor(
    () =>
      query(url, 'select 1').then(
        () => true,
        () => false,
      ),
    'it answers',
  )
  expect(postmasterPidIn(dataDir)).not.toBe(postmaster)
})

test.runIf(onLinux)(
  'a Postgres whose guard was killed with its owner is stopped by the next start',
  async () => {
    const first = start()
    await query(await first.url, 'create table mark as select 42 as answer')
    const postmaster = postmasterPidIn(dataDir)
    const spared = new Set([postmaster, ...childrenOf(postmaster)])
    const guards = processesOn(dataDir).filter((pid) => !spared.has(pid))
    for (const pid of guards) process.kill(pid, 'SIGSTOP')
    await first.kill('SIGKILL')
    for (const pid of guards) process.kill(pid, 'SIGKILL')
    await waitFor(() => guards.every((pid) => !isProcessAlive(pid)), 'the guards are gone')
    expect(isProcessAlive(postmaster)).toBe(true)

    const second = start()
    expect(await query(await second.url, 'select answer from mark')).toEqual([{ answer: 42 }])
    expect(second.stderr()).toContain('without an owner process')
    expect(isProcessAlive(postmaster)).toBe(false)
  },
)

test('a second owner of the same data is refused, and the first goes on', async () => {
  const first = start()
  const url = await first.url
  const second = start()
  await expect(second.url).rejects.toThrow('is in use by another running process')
  expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }])
})

test('a short command joins the Postgres of a running owner and leaves it running', async () => {
  const first = start()
  const url = await first.url
  const joined = await reachEmbeddedPostgres({ dataDir })
  expect(joined.url).toBe(url)
  await joined.stop()
  expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }])

  await first.stop()
  const own = await reachEmbeddedPostgres({ dataDir })
  expect(await query(own.url, 'select 1 as one')).toEqual([{ one: 1 }])
  await own.stop()
  await expect(query(url, 'select 1')).rejects.toMatchObject({ code: 'ENOENT' })
})

test('of several first starts at once one wins, and the others say why they do not start', async () => {
  rmSync(join(dataDir, 'postgres'), { recursive: true })
  const all = [start(), start(), start()]
  const results = await Promise.allSettled(all.map(({ url }) => url))
  const [winner, ...more] = results.filter((result) => result.status === 'fulfilled')
  expect(more).toEqual([])
  expect(await query(winner!.value, 'select 1 as one')).toEqual([{ one: 1 }])
  const reasons = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
  expect(reasons.map(String).filter((reason) => !reason.includes('is in use by another'))).toEqual(
    [],
  )
})

test('a lock left by a crashed machine does not prevent the start, even if another process has its pid by now', async () => {
  const first = await startEmbeddedPostgres({ dataDir })
  const lock = join(dataDir, 'postgres/cluster/postmaster.pid')
  const left = readFileSync(lock, 'utf8').split('\n').slice(1).join('\n')
  await first.stop()
  // As the same user, because Postgres itself ignores the processes of other users.
  const { uid, gid } = statSync(join(dataDir, 'postgres'))
  const options = asRoot ? { uid, gid, cwd: '/' } : { cwd: '/' }
  const stranger = spawn('sleep', ['60'], options)
  try {
    for (const pid of onLinux ? [stranger.pid, 4_194_304] : [99_999]) {
      writeFileSync(lock, `${pid}\n${left}`)
      const next = await startEmbeddedPostgres({ dataDir })
      expect(await query(next.url, 'select 1 as one')).toEqual([{ one: 1 }])
      await next.stop()
    }
    expect(isProcessAlive(stranger.pid!)).toBe(true)
  } finally {
    stranger.kill()
  }
})

/** As a power loss leaves it: created long ago, and its content never reached the disk. */
function tearLock(text: string): string {
  const lock = join(dataDir, 'postgres/cluster/postmaster.pid')
  writeFileSync(lock, text)
  utimesSync(lock, 1_700_000_000, 1_700_000_000)
  return lock
}

test.runIf(onLinux).each([
  ['an empty lock', ''],
  ['a lock of NUL bytes', '\0\0\0\0'],
  ['a lock of garbage', 'garbage\n'],
])('%s is removed with a warning when no process works in the folder', async (_what, text) => {
  const lock = tearLock(text)
  const warned: string[] = []
  const database = await startEmbeddedPostgres({ dataDir, warn: (line) => warned.push(line) })
  expect(await query(database.url, 'select 1 as one')).toEqual([{ one: 1 }])
  await database.stop()
  expect(warned).toEqual([expect.stringContaining(`${lock} contains no process id`)])
})

test.runIf(onLinux)(
  'a lock without a process id stays and is reported at once when a process works in the folder',
  async () => {
    const lock = tearLock('')
    const stranger = spawn('sleep', ['60'], { cwd: join(dataDir, 'postgres/cluster') })
    try {
      const began = performance.now()
      await expect(startEmbeddedPostgres({ dataDir })).rejects.toThrow(
        `${lock} contains no process id, as after a power loss or on a full disk: remove it and start again, ` +
          `unless process ${stranger.pid}, which works in that folder, is Postgres`,
      )
      expect(performance.now() - began).toBeLessThan(10_000)
      expect(existsSync(lock)).toBe(true)
    } finally {
      const gone = once(stranger, 'exit')
      stranger.kill()
      await gone
    }
  },
)

test.runIf(onLinux)('a lock that was just created is waited for, not removed', async () => {
  const lock = join(dataDir, 'postgres/cluster/postmaster.pid')
  writeFileSync(lock, '')
  const making = setInterval(() => utimesSync(lock, Date.now() / 1000, Date.now() / 1000), 100)
  const owner = start()
  // This test is about time: it waits twice as long as a new lock may be incomplete.
  await sleep(4_000)
  clearInterval(making)
  expect(owner.stderr()).toBe('')
  expect(existsSync(lock)).toBe(true)
  await owner.url
  expect(owner.stderr()).toContain('removed')
})

test('a data folder whose path is too long for a socket gets its socket elsewhere', async () => {
  const deep = join(dataDir, 'deep-'.repeat(12), 'deeper-'.repeat(12))
  mkdirSync(deep, { recursive: true })
  const first = await startEmbeddedPostgres({ dataDir: deep })
  const socket = decodeURIComponent(new URL(first.url).hostname).replace(/,$/, '')
  expect(socket.startsWith(deep)).toBe(false)
  expect(await query(first.url, 'select 1 as one')).toEqual([{ one: 1 }])
  await expect(startEmbeddedPostgres({ dataDir: deep })).rejects.toThrow('is in use')
  await first.stop()
  expect(existsSync(join(socket, '..'))).toBe(false)
})

test.each(["Données d'été 100% #1 ?a=b, c@d", 'a:b'])(
  'a data folder with spaces, accents and special characters works: %s',
  async (name) => {
    const odd = join(dataDir, name)
    const database = await startEmbeddedPostgres({ dataDir: odd })
    expect(await query(database.url, 'select 1 as one')).toEqual([{ one: 1 }])
    await database.stop()
  },
)

test.runIf(asRoot)(
  'a user without a name, whom initdb refuses, gets an error that says what to do',
  async () => {
    const nameless = join(dataDir, 'nameless')
    mkdirSync(nameless)
    chownSync(nameless, 54_321, 54_321)
    const refused = startOwner(nameless, { runAs: { uid: 54_321, gid: 54_321 } })
    await expect(refused.url).rejects.toThrow(
      /effective user ID 54321.*: run as a user that \/etc\/passwd lists, or set DATABASE_URL to a Postgres of your own/,
    )
  },
)

/** What any program of the system may run as. */
const nobody = { uid: 65_534, gid: 65_534 }

test.runIf(asRoot)(
  'LE-25: started by root, Postgres runs as a user of its own, and a program of the user nobody reaches neither socket nor password',
  async () => {
    rmSync(join(dataDir, 'postgres'), { recursive: true })
    const database = await startEmbeddedPostgres({ dataDir })
    try {
      const { uid } = statSync(join(dataDir, 'postgres'))
      expect(uid).toBeGreaterThanOrEqual(60_578)
      expect(uid).not.toBe(nobody.uid)
      expect(readFileSync('/etc/passwd', 'utf8')).not.toContain(`:${uid}:`)
      expect(statSync(`/proc/${postmasterPidIn(dataDir)}`).uid).toBe(uid)
      const inside = filesOf(join(dataDir, 'postgres'))
      expect(inside.length).toBeGreaterThan(100)
      // The socket that shows the owner process is root's.
      expect(inside.filter((file) => ![0, uid].includes(lstatSync(file).uid))).toEqual([])
      // A program of nobody does not get through to the socket, and even with it has no password.
      const socket = join(dataDir, 'postgres/socket')
      const asNobody = spawnSync('/bin/sh', ['-c', `ls ${socket}; cat ${socket}/../password`], {
        ...nobody,
        cwd: '/',
        encoding: 'utf8',
      })
      expect([asNobody.stdout, asNobody.stderr.match(/Permission denied/g)?.length]).toEqual([
        '',
        2,
      ])
    } finally {
      await database.stop()
    }
  },
)

test('LE-25: the embedded Postgres accepts no connection without its password', async () => {
  const database = await startEmbeddedPostgres({ dataDir })
  try {
    const { password } = new URL(database.url)
    expect(password).toMatch(/^[0-9a-f]{48}$/)
    expect(statSync(join(dataDir, 'postgres/password')).mode & 0o777).toBe(0o600)
    for (const wrong of ['', ':', `:${'0'.repeat(48)}`]) {
      const url = database.url.replace(`:${password}`, wrong)
      await expect(query(url, 'select 1')).rejects.toMatchObject({
        code: expect.stringMatching(/^(28|SASL)/),
      })
    }
    await query(database.url, 'create role other login')
    const other = database.url.replace(`postgres:${password}`, 'other')
    await expect(query(other, 'select 1')).rejects.toMatchObject({
      code: expect.stringMatching(/^(28|SASL)/),
    })
  } finally {
    await database.stop()
  }
})

test('a password that was lost is replaced at the next start, and the data stays', async () => {
  const first = await startEmbeddedPostgres({ dataDir })
  await query(first.url, 'create table mark as select 42 as answer')
  await first.stop()
  rmSync(join(dataDir, 'postgres/password'))
  const second = await startEmbeddedPostgres({ dataDir })
  expect(second.url).not.toBe(first.url)
  expect(await query(second.url, 'select answer from mark')).toEqual([{ answer: 42 }])
  await expect(query(first.url, 'select 1')).rejects.toMatchObject({ code: '28P01' })
  await second.stop()
})

test.runIf(asRoot)(
  'LE-25: data that an older version ran as nobody gets a user and a password of its own at the next start',
  async () => {
    const first = await startEmbeddedPostgres({ dataDir })
    await query(first.url, 'create table mark as select 42 as answer')
    await first.stop()
    const home = join(dataDir, 'postgres')
    rmSync(join(home, 'password'))
    writeFileSync(join(home, 'cluster/pg_hba.conf'), 'local   all   all   trust\n')
    spawnSync('chown', ['-R', '65534:65534', home])

    const next = await startEmbeddedPostgres({ dataDir })
    expect(await query(next.url, 'select answer from mark')).toEqual([{ answer: 42 }])
    expect(statSync(`/proc/${postmasterPidIn(dataDir)}`).uid).not.toBe(nobody.uid)
    expect(filesOf(home).filter((file) => lstatSync(file).uid === nobody.uid)).toEqual([])
    const trusting = next.url.replace(/:[0-9a-f]{48}@/, '@')
    await expect(query(trusting, 'select 1')).rejects.toMatchObject({
      code: expect.stringMatching(/^(28|SASL)/),
    })
    await next.stop()
  },
)

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) =>
    join(folder, name),
  )
}

test('a data folder that is a file is refused in one line that names DATA_DIR', async () => {
  const file = join(dataDir, 'file')
  writeFileSync(file, '')
  for (const place of [file, join(file, 'inside')]) {
    await expect(startEmbeddedPostgres({ dataDir: place })).rejects.toThrow(
      /^DATA_DIR: .*file.* is not a folder \(\w+\); choose another folder, such as DATA_DIR=\.data$/,
    )
  }
})

test.skipIf(asRoot)(
  'a data folder without write permission is refused in one line that names DATA_DIR',
  async () => {
    const shut = join(dataDir, 'shut')
    mkdirSync(shut, { mode: 0o500 })
    await expect(startEmbeddedPostgres({ dataDir: shut })).rejects.toThrow(
      /^DATA_DIR: .* is not accessible to this user \(EACCES\); choose another folder, such as DATA_DIR=/,
    )
  },
)

test.runIf(spawnSync('psql', ['--version']).status === 0)('psql accepts the same URL', async () => {
  const database = await startEmbeddedPostgres({ dataDir })
  const asked = spawnSync('psql', [database.url, '-Atc', 'select current_database()'], {
    encoding: 'utf8',
  })
  await database.stop()
  expect(asked).toMatchObject({ stderr: '', stdout: 'token_ledger\n' })
})

test('data of another major version is refused in one line that says so', async () => {
  writeFileSync(join(dataDir, 'postgres/cluster/PG_VERSION'), '16\n')
  await expect(startEmbeddedPostgres({ dataDir })).rejects.toThrow(
    /created by Postgres 16, and Postgres 17 cannot read it.*DATABASE_URL/,
  )
})

test('a start that fails ends in one line with the last message of Postgres', async () => {
  const failed = startEmbeddedPostgres({ dataDir, settings: { shared_buffers: 'plenty' } })
  await expect(failed).rejects.toThrow(/^Postgres did not start: .*"shared_buffers": "plenty"/)
})

test('LE-18 (ASVS 13.2.2): the login that serves cannot become the superuser, nor remove an event', async () => {
  const database = await startEmbeddedPostgres({ dataDir })
  try {
    const urls = { owner: database.url, service: database.serviceUrl }
    await migrateWithErrors(urls)
    expect(await canServe(urls.service)).toBe(true)
    const service = connect(urls.service, { role: 'token_ledger_app', maxConnections: 3 })
    for (const attack of [
      'set role postgres',
      'set session authorization postgres',
      'set role none; alter table token_ledger.token_event disable trigger all',
      'set role none; delete from token_ledger.token_event',
    ])
      expect(await sqlStateOf(service.transactions.unsafe(attack).simple())).toBe('42501')
    const config = { isProduction: true, superuserDatabaseLogin: undefined }
    expect(await checkDatabaseLogin(config, service)).toMatchObject({ warning: null })
    await service.close()
  } finally {
    await database.stop()
  }
})
