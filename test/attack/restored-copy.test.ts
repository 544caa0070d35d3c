import { randomUUID } from 'node:crypto'
import { cpSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import fastify from 'fastify'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { isUnavailable } from '../../db/connection/errors.ts'
import { readMark } from '../../db/incarnation.ts'
import { watchForRestoredCopy } from '../../server/audit/restored-copy.ts'
import { version } from '../../server/version.ts'
import { serviceUrl } from '../support/admin.ts'
import { cli } from '../support/cli.ts'
import { moveClock } from '../support/clock.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { fillLedger } from '../support/filled-ledger.ts'
import { openForge } from '../support/forge.ts'
import { auth, mutate, query } from '../support/http.ts'
import { copyDatabase } from '../support/restored-database.ts'
import { run } from '../support/run.ts'
import { startServer, testSecret, type ServerProcess } from '../support/server.ts'
import { signIn, type BodySession } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'
import { longTest } from '../support/long.ts'

/** Each test starts several processes. */
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

const minute = 60_000
const restoredCopy = 'this database is a restored copy'
const unusedForLong = 'this database was not in use for long'

let owner: FreshDatabase
let dataDir: string

beforeEach(async () => {
  owner = await freshDatabase()
  await makeUser(owner.url, 'admin@example.com', 'admin')
  dataDir = mkdtempSync(path.join(tmpdir(), 'token-ledger-restored-'))
})
afterEach(() => owner[Symbol.asyncDispose]())

/** A machine with a data folder, or a container without one. */
const startOn = (folder: string) => startServer(owner.url, { DATA_DIR: folder })
const startWithout = () => startOn('/nonexistent')

/** Starts the service on this machine and stops it again. @returns what it said */
async function runOnce(folder: string): Promise<string> {
  const server = await startOn(folder)
  await server.kill('SIGTERM')
  return server.output()
}

/** The commands that the lines with `message` name. */
function commandsIn(output: string, message: string): string[] {
  return output
    .split('\n')
    .filter((line) => line.includes(message))
    .map((line) => (JSON.parse(line) as { run: string }).run)
}

/** Runs a command as the log prints it. */
const runCommand = (command: string) => cli(owner.url, command.split(' ').slice(1))

const endReasons = () => owner.ownerSql<{ reason: string; actor_user_id: string | null }[]>`
  select distinct reason, actor_user_id from token_audit.events where kind = 'revoked'`

const actions = () => owner.ownerSql<{ action: string; reason: string }[]>`
  select action, reason, actor_user_id from token_audit.admin_actions where action = 'ledger_restored'`

describe('LE-28 (ASVS 7.4.1, 7.4.3): a copy brings back sessions ended as stolen, signed-out ones and disabled users', () => {
  let server: ServerProcess
  let stolen: BodySession
  let signedOut: BodySession
  let rogue: BodySession

  beforeEach(async () => {
    server = await startOn(dataDir)
    const at = { url: server.url, owner }
    stolen = await signIn(at)
    signedOut = await signIn(at, stolen.email)
    rogue = await signIn(at)
    await server.kill('SIGTERM')
    await using copy = await copyDatabase(owner)

    server = await startOn(dataDir)
    const admin = await signIn({ url: server.url, owner }, 'admin@example.com')
    await auth(server.url, 'logout', { refreshToken: signedOut.refreshToken })
    const me = await signIn({ url: server.url, owner }, stolen.email)
    await mutate(server.url, 'account.changePassword', me.accessToken, {
      currentPassword: testPassword,
      newPassword: 'another horse, another staple',
    })
    await mutate(server.url, 'admin.users.disable', admin.accessToken, { userId: rogue.userId })
    await server.kill('SIGTERM')
    await copy.restore()
    server = await startOn(dataDir)
  })
  afterEach(() => server[Symbol.asyncDispose]())

  test('the start says so and names the command, which ends every session and replaces the keys', async () => {
    const [command, ...more] = commandsIn(server.output(), restoredCopy)
    expect(more).toEqual([])
    const forge = await openForge(owner.url)
    const forged = forge.mint(stolen.accessToken, { claims: { iss: server.url, aud: server.url } })
    expect((await query(server.url, 'me', forged)).status).toBe(200)

    const { code, stdout, stderr } = await runCommand(command!)
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringContaining('change, disable and erase again what was changed since'),
    })
    expect(stdout).toMatch(/^ended 3 sessions of 2 users\nsigning key \S+ replaces all others\n$/)
    for (const { refreshToken } of [stolen, signedOut, rogue])
      expect((await auth(server.url, 'refresh', { refreshToken })).reason).toBe('session_revoked')
    await expect
      .poll(async () => (await query(server.url, 'me', forged)).reason, { timeout: 15_000 })
      .toMatch(/^access_token_(invalid|revoked)$/)
    expect(stdout).not.toContain(forge.kid)
    const keys = await owner.ownerSql`select kid from token_ledger.signing_key`
    expect(stdout).toContain(keys[0]!.kid)
    expect(keys).toHaveLength(1)

    expect([...(await endReasons())]).toEqual([{ reason: 'admin_revoked', actor_user_id: null }])
    const at = command!.split(' ').at(-1)
    expect([...(await actions())]).toEqual([
      {
        action: 'ledger_restored',
        actor_user_id: null,
        reason: `copy of ${at}: ended 3 sessions of 2 users; all signing keys replaced by ${keys[0]!.kid}`,
      },
    ])
    const inspected = await cli(owner.url, ['sessions', 'inspect', stolen.familyId])
    expect(inspected.stdout).toContain(`by an admin (the command line): copy of ${at}`)
    expect((await cli(owner.url, ['ledger', 'verify'])).code).toBe(0)
  })

  longTest('every start says so, in each process, until the command has run', async () => {
    await using container = await startWithout()
    expect(commandsIn(container.output(), restoredCopy)).toHaveLength(1)
    const again = await runOnce(dataDir)
    const [command] = commandsIn(again, restoredCopy)
    expect((await runCommand(command!)).code).toBe(0)
    expect(await runOnce(dataDir)).not.toContain(restoredCopy)
    await using later = await startWithout()
    expect(later.output()).not.toContain(restoredCopy)
  })

  test('--keep ends nothing, and stops the message', async () => {
    const [command] = commandsIn(server.output(), restoredCopy)
    expect(await runCommand(`${command} --keep`)).toMatchObject({ code: 0 })
    const { refreshToken } = stolen
    expect((await auth(server.url, 'refresh', { refreshToken })).status).toBe(200)
    expect((await actions())[0]!.reason).toMatch(/kept as it is, nothing was ended$/)
    expect(await runOnce(dataDir)).not.toContain(restoredCopy)
  })

  test('a wrong secret, a moment to come and a missing one change nothing', async () => {
    const wrongSecret = { DATABASE_URL: owner.url, AUTH_SECRET: testSecret.replaceAll('T', 'q') }
    const command = ['ledger', 'restored', '--at', '2026-01-01']
    const refused = await run('server/cli/main.ts', command, { env: wrongSecret })
    expect(refused).toMatchObject({ code: 2, stdout: '' })
    expect(refused.stderr).toMatch(/^AUTH_SECRET cannot decrypt the signing keys/)
    expect(await cli(owner.url, ['ledger', 'restored', '--at', '9999-01-01'])).toMatchObject({
      code: 2,
      stderr: '--at: 9999-01-01T00:00:00.000Z has not come yet\n',
    })
    expect((await cli(owner.url, ['ledger', 'restored'])).code).toBe(3)
    expect([...(await endReasons()), ...(await actions())]).toEqual([])
  })
})

test('`ledger restored` ends more sessions than one statement takes, in one transaction', async () => {
  const user = await makeUser(owner.url)
  await fillLedger(owner.ownerSql, { userId: user.id, families: 501 })
  const outcome = await cli(owner.url, ['ledger', 'restored', '--at', '2026-01-01'])
  expect(outcome.stdout).toContain('ended 501 sessions of 1 user\n')
  const writers = await owner.ownerSql`
    select distinct txid from token_ledger.token_event where kind = 'revoked'`
  expect(writers).toHaveLength(1)
})

describe('a restored copy is noticed', () => {
  longTest(
    'by a machine that comes back after containers without a data folder have used the copy',
    async () => {
      await runOnce(dataDir)
      await using copy = await copyDatabase(owner)
      await runOnce(dataDir)
      await copy.restore()
      await using container = await startWithout()
      expect(container.output()).not.toContain(restoredCopy)
      const output = await runOnce(dataDir)
      expect(commandsIn(output, restoredCopy)).toHaveLength(1)
      await waitFor(() => container.output().includes(restoredCopy), undefined, 40_000)
    },
  )

  test.each(['without its mark', 'with an older mark of it'])(
    'by a process that runs while the database is replaced, by a copy %s',
    async (which) => {
      await runOnce(dataDir)
      const logged: string[] = []
      const app = fastify({ logger: { stream: { write: (line) => void logged.push(line) } } })
      const database = connect(serviceUrl(owner.url), { role: 'token_ledger_app' })
      const markId = randomUUID()
      // Undefined while the pool refuses statements: it met the database while it was copied.
      const markedAt = async () => {
        try {
          return (await readMark(database, markId)) ?? undefined
        } catch (error) {
          if (!isUnavailable(error)) throw error
          return undefined
        }
      }
      const watch = () =>
        watchForRestoredCopy(app, database, {
          markId,
          state: () => ({ version, startedAt: Date.now(), lagMs: 0 }),
          memory: { read: async () => null, write: async () => {} },
          everyMs: 200,
        })
      if (which !== 'without its mark') await watch()
      await using copy = await copyDatabase(owner)
      if (which === 'without its mark') await watch()
      const copiedAt = await waitFor(markedAt)
      await waitFor(async () => ((await markedAt()) ?? 0) > copiedAt)
      await copy.restore()
      await waitFor(() => logged.some((line) => line.includes(restoredCopy)))
      await app.close()
      await database.close()
    },
  )

  longTest('when it is older than the last `ledger restored`', async () => {
    await runOnce(dataDir)
    await using copy = await copyDatabase(owner)
    const now = new Date().toISOString()
    expect((await runCommand(`token-ledger ledger restored --at ${now}`)).code).toBe(0)
    expect(await runOnce(dataDir)).not.toContain(restoredCopy)
    await copy.restore()
    expect(commandsIn(await runOnce(dataDir), restoredCopy)).toHaveLength(1)
  })

  longTest(
    'perhaps, by a container: when the database was not in use for ten minutes',
    async () => {
      await runOnce('/nonexistent')
      await moveClock(owner.ownerSql, 9 * minute)
      await using soon = await startWithout()
      expect(soon.output()).not.toContain(unusedForLong)
      await soon.kill('SIGTERM')
      await moveClock(owner.ownerSql, 20 * minute)
      const output = await runOnce('/nonexistent')
      expect(commandsIn(output, unusedForLong)).toEqual([
        expect.stringMatching(/^token-ledger ledger restored --at \S+Z$/),
      ])
      expect(await runOnce('/nonexistent')).not.toContain(unusedForLong)
    },
  )
})

test('a data folder that was restored together with the database does not hide the copy', async () => {
  await runOnce(dataDir)
  const folder = `${dataDir}-restored`
  cpSync(dataDir, folder, { recursive: true, preserveTimestamps: true })
  await moveClock(owner.ownerSql, 20 * minute)
  expect(commandsIn(await runOnce(folder), unusedForLong)).toHaveLength(1)
})

describe('no copy is reported', () => {
  longTest(
    'at the first start, at the next ones, and after a pause, to a machine with a data folder',
    async () => {
      for (const hours of [0, 0, 100]) {
        await moveClock(owner.ownerSql, hours * 60 * minute)
        const output = await runOnce(dataDir)
        expect(output).not.toContain(restoredCopy)
        expect(output).not.toContain(unusedForLong)
      }
    },
  )

  longTest('for another database with the same data folder', async () => {
    await runOnce(dataDir)
    await using another = await freshDatabase()
    await using server = await startServer(another.url, { DATA_DIR: dataDir })
    expect(server.output()).not.toContain(restoredCopy)
  })

  longTest(
    'to machines whose last use was before the command, or before that of others',
    async () => {
      const other = mkdtempSync(path.join(tmpdir(), 'token-ledger-restored-'))
      await runOnce(dataDir)
      await runOnce(other)
      expect(await runOnce(dataDir)).not.toContain(restoredCopy)
      await using copy = await copyDatabase(owner)
      await runOnce(dataDir)
      await runOnce(other)
      await copy.restore()
      const [command] = commandsIn(await runOnce(dataDir), restoredCopy)
      expect((await runCommand(command!)).code).toBe(0)
      for (const folder of [other, dataDir])
        expect(await runOnce(folder)).not.toContain(restoredCopy)
    },
  )
})
