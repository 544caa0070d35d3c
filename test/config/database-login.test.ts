import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { loadConfig } from '../../server/index.ts'
import { checkDatabaseLogin } from '../../server/config/database-login.ts'
import { asAdmin, databaseUrl } from '../support/admin.ts'
import { startApp } from '../support/app.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { sqlStateOf } from '../support/ledger-rows.ts'
import { loginWith, type Login } from '../support/login.ts'
import { plainlyOwned } from '../support/plain-owner.ts'
import { run, withoutWaits } from '../support/run.ts'
import { freePort, testSecret } from '../support/server.ts'

let database: FreshDatabase
const boss = `boss_${randomUUID().slice(0, 8)}`
const clerk = `clerk_${randomUUID().slice(0, 8)}`
beforeAll(async () => {
  database = await freshDatabase()
  await administrate(`create role ${boss} superuser`, `create role ${clerk} in role ${boss}`)
})
afterAll(async () => {
  await administrate(`drop role ${clerk}`, `drop role ${boss}`)
  await database[Symbol.asyncDispose]()
})

async function administrate(...statements: string[]): Promise<void> {
  await asAdmin(databaseUrl(database.url, 'postgres'), async (admin) => {
    for (const statement of statements) await admin.unsafe(statement)
  })
}

/** A login that may take the service's role, and more. `NAME` in a statement stands for it. */
async function loginThat(more: {
  attributes?: string
  grants?: readonly string[]
}): Promise<Login> {
  const login = await loginWith(database, { roles: ['token_ledger_app'], ...more })
  await administrate(...(more.grants ?? []).map((grant) => grant.replace('NAME', login.name)))
  return login
}

async function checked(url: string, isProduction: boolean, allowed?: 'allow') {
  const connected = connect(url, { role: 'token_ledger_app', maxConnections: 1 })
  const config = { ...loadConfig({}), isProduction, superuserDatabaseLogin: allowed }
  try {
    return (await checkDatabaseLogin(config, connected)).warning
  } catch (error) {
    return (error as Error).message
  } finally {
    await connected.close()
  }
}

const unable = 'with admin false, inherit false, set false'

describe('LE-18 (ASVS 13.2.2): in production the start is refused with a login', () => {
  test.each<[string, Parameters<typeof loginThat>[0], string[]]>([
    ['that is a superuser', { attributes: 'superuser' }, []],
    ['that is a member of one', { grants: [`grant ${boss} to NAME`] }, [`set role ${boss}`]],
    [
      'that is a member of a member of one',
      { grants: [`grant ${clerk} to NAME with inherit false`] },
      [`set role ${boss}`],
    ],
    [
      'that may grant itself such a membership',
      { grants: [`grant ${clerk} to NAME with admin true, inherit false, set false`] },
      [`grant ${clerk} to session_user with set true`, `set role ${boss}`],
    ],
  ])('%s', async (_what, more, steps) => {
    await using login = await loginThat(more)
    const refused = await checked(login.url, true)
    expect(refused).toMatch(/^DATABASE_URL: login_\w+ is a superuser or may become one; [^\n]+$/)
    expect(refused).toMatch(/SUPERUSER_DATABASE_LOGIN=allow$/)
    expect(refused).not.toContain(login.url)
    expect(await checked(login.url, true, 'allow')).toBe('database_login_is_superuser')
    expect(await checked(login.url, false)).toBe('database_login_is_superuser')
    // The refusal is right: the login gets there.
    for (const step of steps) await login.sql.unsafe(step)
    expect(await login.sql`show is_superuser`).toEqual([{ is_superuser: 'on' }])
  })

  test('that can write files of the server, or run programs on it', async () => {
    for (const role of ['pg_write_server_files', 'pg_execute_server_program']) {
      await using login = await loginThat({ grants: [`grant ${role} to NAME`] })
      expect(await checked(login.url, true)).toContain('may become one')
    }
  })

  test('by the server process, in one line and with exit code 3', async () => {
    const env = {
      NODE_ENV: 'production',
      DATABASE_URL: database.url,
      AUTH_SECRET: testSecret,
      PORT: String(await freePort()),
    }
    const { code, stdout, stderr } = await run('server/main.ts', [], { env })
    expect({ code, stdout: stdout.replaceAll(/^\{.*\n/gm, '') }).toEqual({ code: 3, stdout: '' })
    expect(withoutWaits(stderr)).toMatch(
      /^token-ledger: DATABASE_URL: \S+ is a superuser [^\n]+\n$/,
    )
  })
})

describe('LE-18 (ASVS 13.2.2): the start is not refused with a login', () => {
  test.each([
    ['that is only a member of token_ledger_app', {}, `set role ${boss}`],
    [
      'whose membership of a superuser allows nothing',
      { grants: [`grant ${boss} to NAME ${unable}`] },
      `set role ${boss}`,
    ],
    [
      'that administers a superuser, which only superusers may',
      { grants: [`grant ${boss} to NAME with admin true, inherit false, set false`] },
      `grant ${boss} to session_user with set true`,
    ],
  ])('%s', async (_what, more, step) => {
    await using login = await loginThat(more)
    expect(await checked(login.url, true)).toBe(null)
    expect(await sqlStateOf(login.sql.unsafe(step))).toBe('42501')
  })
})

test('LE-18 (ASVS 13.2.2): with a login that is only a member of token_ledger_app, /readyz warns of nothing', async () => {
  await using app = await startApp()
  expect(await (await fetch(`${app.url}/readyz`)).json()).toEqual({ status: 'ready' })
})

describe('LE-18 (ASVS 13.2.2): a login that owns the ledger', () => {
  test('is warned about in the log and by /readyz, and not refused in production', async () => {
    await using owned = await plainlyOwned()
    const connected = connect(owned.login.url, { role: 'token_ledger_app', maxConnections: 3 })
    const lines: string[] = []
    const logger = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) })
    const env = { NODE_ENV: 'production', RATE_LIMITS: 'on', DATABASE_URL: owned.login.url }
    await using app = await startApp(env, { database: connected, logger })
    expect(await (await fetch(`${app.url}/readyz`)).json()).toEqual({
      status: 'ready',
      warnings: ['database_login_owns_ledger'],
    })
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({
        msg: 'the database login has more rights than the service needs',
        login: owned.login.name,
        warning: 'database_login_owns_ledger',
      }),
    ])
    await connected.close()
  })

  test('or may take the role of its owner', async () => {
    await using owned = await plainlyOwned()
    await using login = await loginWith(owned.database, {
      roles: ['token_ledger_app', owned.login.name],
    })
    expect(await checked(login.url, true)).toBe('database_login_owns_ledger')
  })
})

test('docker-compose.yml gives the password of the owner to Postgres and to the migration alone', () => {
  const [shared = '', services = ''] = readFileSync('docker-compose.yml', 'utf8').split(
    /^services:\n/m,
  )
  const blocks = services.split(/^ {2}(?=[a-z-]+:\n)/m).filter((block) => block.trim() !== '')
  const holders = blocks.filter((block) => block.includes('${POSTGRES_PASSWORD'))
  expect(shared).not.toContain('${POSTGRES_PASSWORD')
  expect(blocks.length).toBeGreaterThan(2)
  expect(holders.map((block) => block.split(':')[0])).toEqual(['postgres', 'migrate'])
})
