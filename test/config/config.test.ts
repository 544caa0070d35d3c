import { describe, expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../../server/config/config.ts'
import { freePort, testSecret } from '../support/server.ts'
import { run } from '../support/run.ts'

function problemOf(env: Record<string, string>): string {
  try {
    loadConfig(env)
    return 'none'
  } catch (error) {
    return error instanceof ConfigError ? error.message : `not a ConfigError: ${String(error)}`
  }
}

/** Everything that production requires. */
const production = {
  NODE_ENV: 'production',
  DATABASE_URL: 'postgres://token_ledger@db.internal:5432/token_ledger?sslmode=verify-full',
  AUTH_SECRET: testSecret,
  PUBLIC_URL: 'https://auth.example.com',
}

describe('an empty environment', () => {
  test('an empty environment gives the default of every variable', () => {
    expect(loadConfig({})).toEqual({
      isLedgerPublic: false,
      isProduction: false,
      databaseUrl: undefined,
      dataDir: '.data',
      host: '127.0.0.1',
      port: 3000,
      publicUrl: 'http://127.0.0.1:3000',
      openUrl: 'http://localhost:3000',
      isSecure: false,
      cookiePrefix: 'secure',
      authSecret: undefined,
      authSecretPrevious: undefined,
      allowedOrigins: ['http://127.0.0.1:3000'],
      accessTokenAudience: 'http://127.0.0.1:3000',
      accessTokenAudiences: [],
      accessTokenMs: 900_000,
      refreshIdleMs: 7 * 24 * 3600 * 1000,
      refreshAbsoluteMs: 30 * 24 * 3600 * 1000,
      rotationGraceMs: 10_000,
      maxAuthAgeMs: 600_000,
      reuseScope: 'family',
      replaysElsewhere: 'warn',
      registration: 'open',
      passwordMinLength: 15,
      trustedProxies: [],
      rateLimits: 'on',
      hasConsole: true,
      maxSessionsPerUser: 100,
      metricsToken: undefined,
      metricsPort: undefined,
      revocationsToken: undefined,
      logLevel: 'info',
      isTraced: false,
    })
  })

  test('an empty variable counts as unset', () => {
    const empty = Object.fromEntries([...variables].map((name) => [name, '']))
    expect(loadConfig(empty)).toEqual(loadConfig({}))
  })

  test('the configuration is frozen once read', () => {
    expect(Object.isFrozen(loadConfig({}))).toBe(true)
  })
})

const bad: [variable: string, value: string][] = [
  ['DATABASE_URL', 'mysql://root:hunter2@db/x'],
  ['DATABASE_URL', 'hunter2'],
  ['DATABASE_URL', 'postgres://boss:hunter2%w@db/x'],
  ['DATABASE_WITHOUT_TLS', 'hunter2'],
  ['MIGRATION_DATABASE_URL', 'postgres://boss:hunter2%w@db/x'],
  ['SUPERUSER_DATABASE_LOGIN', 'hunter2'],
  ['EMBEDDED_POSTGRES', 'hunter2'],
  ['PUBLIC_DEVELOPMENT', 'hunter2'],
  ['DATA_DIR', 'C:\\Users\\hunter2\\data'],
  ['HOST', 'hunter2 hunter2'],
  ['HOST', 'http://hunter2'],
  ['HOST', 'hunter2/'],
  ['HOST', 'hunter2:3000'],
  ['PORT', 'hunter2'],
  ['PORT', '0'],
  ['PORT', '65536'],
  ['PORT', '-1'],
  ['PORT', '3000.5'],
  ['PORT', ' 3000'],
  ['PORT', '0x10'],
  ['PUBLIC_URL', 'hunter2'],
  ['PUBLIC_URL', 'https://hunter2.example.com/'],
  ['PUBLIC_URL', 'https://hunter2.example.com/path'],
  ['PUBLIC_URL', 'ftp://hunter2.example.com'],
  ['PUBLIC_URL', 'https://hunter2.example.com:443'],
  ['AUTH_SECRET', 'hunter2'],
  ['AUTH_SECRET', 'hunter2'.padEnd(31, 'qwertzuiop')],
  ['AUTH_SECRET', 'h'.repeat(64)],
  ['AUTH_SECRET', 'ab'.repeat(32)],
  ['AUTH_SECRET', 'please-change-me-hunter2-Zq7Lw4Xr8Vb'],
  ['AUTH_SECRET', 'your-secret-hunter2-Zq7Lw4Xr8Vb1Mn6K'],
  ['AUTH_SECRET', '0123456789hunter2-Zq7Lw4Xr8Vb1Mn6Kxw'],
  ['AUTH_SECRET_PREVIOUS', 'hunter2'],
  ['ALLOWED_ORIGINS', '*'],
  ['ALLOWED_ORIGINS', 'https://a.example.com,https://hunter2.example.com/'],
  ['ALLOWED_ORIGINS', 'https://a.example.com,,https://hunter2.example.com'],
  ['ALLOWED_ORIGINS', 'null'],
  ['ALLOWED_ORIGINS', 'file://hunter2'],
  ['ALLOWED_ORIGINS', 'capacitor://localhost/hunter2'],
  ['ALLOWED_ORIGINS', 'https://*.hunter2.example.com/'],
  ['ACCESS_TOKEN_AUDIENCE', 'hunter2'.repeat(40)],
  ['ACCESS_TOKEN_AUDIENCES', 'hunter2'.repeat(40)],
  ['ACCESS_TOKEN_AUDIENCES', 'hunter2,'],
  ['ACCESS_TOKEN_AUDIENCES', 'hunter2,,stock'],
  ['ACCESS_TOKEN_AUDIENCES', 'http://127.0.0.1:3000'],
  ['ACCESS_TOKEN_SECONDS', '0'],
  ['ACCESS_TOKEN_SECONDS', '901'],
  ['ACCESS_TOKEN_SECONDS', '15m'],
  ['REFRESH_IDLE_SECONDS', '0'],
  ['REFRESH_IDLE_SECONDS', '2592001'],
  ['REFRESH_IDLE_SECONDS', '99999999999'],
  ['REFRESH_ABSOLUTE_SECONDS', '-5'],
  ['ROTATION_GRACE_SECONDS', '61'],
  ['ROTATION_GRACE_SECONDS', '1e1'],
  ['REUSE_SCOPE', 'hunter2'],
  ['COOKIE_PREFIX', 'hunter2'],
  ['COOKIE_PREFIX', 'host'],
  ['REGISTRATION', 'hunter2'],
  ['PASSWORD_MIN_LENGTH', '7'],
  ['PASSWORD_MIN_LENGTH', '129'],
  ['TRUSTED_PROXIES', 'true'],
  ['TRUSTED_PROXIES', '1'],
  ['TRUSTED_PROXIES', '10.0.0.0/8,hunter2'],
  ['TRUSTED_PROXIES', '0.0.0.0/0'],
  ['TRUSTED_PROXIES', '0.0.0.0/1,128.0.0.0/1'],
  ['TRUSTED_PROXIES', '10.0.0.0/8,::/0'],
  ['TRUSTED_PROXIES', '2000::/3'],
  ['TRUSTED_PROXIES', '::ffff:0:0/96'],
  ['TRUSTED_PROXIES', '0:0:0:0:0:FFFF:0:0/96'],
  ['RATE_LIMITS', 'hunter2'],
  ['CONSOLE', 'hunter2'],
  ['MAX_SESSIONS_PER_USER', '0'],
  ['METRICS_TOKEN', 'hunter2'],
  ['METRICS_PORT', 'hunter2'],
  ['METRICS_PORT', '3000'],
  ['REVOCATIONS_TOKEN', 'hunter2'],
  ['LEDGER_TOKEN', 'hunter2'],
  ['SIGN_IN_TOKEN', 'hunter2'],
  ['LEDGER_PUBLIC', 'hunter2'],
  ['WITNESS_URL', 'http://hunter2.example.com'],
  ['WITNESS_KEY', 'hunter2'],
  ['LOG_LEVEL', 'hunter2'],
]

const variables = new Set([...bad.map(([name]) => name), 'DATA_DIR', 'LAST_CHECKPOINT', 'NODE_ENV'])

test.each(bad)(
  'AT-13, RT-12 (ASVS 13.3.1 and 7.1.1): %s may not be %s: one line says what is wrong and how to fix it, without the value',
  (name, value) => {
    const problem = problemOf({ [name]: value })
    expect(problem).toMatch(new RegExp(`^${name}: .+`))
    expect(problem).not.toContain('\n')
    expect(problem).not.toContain('hunter2')
    // An example, a way to generate one, or the whole list of allowed values.
    expect(problem).toMatch(/such as |make one with: |expected one of |set it to: |"allow"/)
  },
)

test.each([
  ['DATABASE_URL', 'postgres://boss:p%25w@db/x'],
  ['PORT', '1'],
  ['PORT', '65535'],
  ['ACCESS_TOKEN_SECONDS', '1'],
  ['ACCESS_TOKEN_SECONDS', '900'],
  ['ROTATION_GRACE_SECONDS', '0'],
  ['ROTATION_GRACE_SECONDS', '60'],
  ['PASSWORD_MIN_LENGTH', '8'],
  ['PASSWORD_MIN_LENGTH', '128'],
  ['HOST', '::1'],
  ['HOST', 'localhost'],
  ['TRUSTED_PROXIES', '10.0.0.0/8, fd00::/8'],
  ['TRUSTED_PROXIES', '::ffff:10.0.0.0/104, fc00::/7'],
  ['METRICS_TOKEN', 'sixteen-letters!'],
  ['ALLOWED_ORIGINS', 'https://a.example.com, http://localhost:5173'],
  ['ALLOWED_ORIGINS', 'capacitor://localhost,ionic://localhost,tauri://localhost,app://.'],
  ['ALLOWED_ORIGINS', 'chrome-extension://abcdefghijklmnopabcdefghijklmnop'],
])('%s may be %s', (name, value) => {
  expect(problemOf({ [name]: value })).toBe('none')
})

test('a wildcard among the origins is refused in one line that says what to do', () => {
  const problem = problemOf({ ALLOWED_ORIGINS: 'https://*.example.com' })
  expect(problem).toBe(
    'ALLOWED_ORIGINS: must be exact origins: instead of a wildcard, list each one, such as https://app.example.com',
  )
})

test('a number that is too long gets an error with its bounds', () => {
  const problem = problemOf({ REFRESH_IDLE_SECONDS: '99999999999' })
  expect(problem).toBe('REFRESH_IDLE_SECONDS: must be 1 to 31536000, such as 604800')
})

test('the default inactivity timeout is never longer than the absolute expiration (ASVS 7.3.1)', () => {
  const dayMs = 24 * 3600 * 1000
  const idleMs = (env: Record<string, string>) => loadConfig(env).refreshIdleMs
  expect(idleMs({ REFRESH_ABSOLUTE_SECONDS: '86400' })).toBe(dayMs)
  expect(idleMs({ REFRESH_ABSOLUTE_SECONDS: '604799' })).toBe(7 * dayMs - 1000)
  expect(idleMs({ REFRESH_ABSOLUTE_SECONDS: '604801' })).toBe(7 * dayMs)
  expect(problemOf({ REFRESH_IDLE_SECONDS: '86401', REFRESH_ABSOLUTE_SECONDS: '86400' })).toBe(
    'REFRESH_IDLE_SECONDS: may not exceed REFRESH_ABSOLUTE_SECONDS, such as 86400',
  )
})

test('the issuer follows HOST and PORT, written as a browser writes an origin', () => {
  expect(loadConfig({ HOST: '::1' }).publicUrl).toBe('http://[::1]:3000')
  for (const url of ['http://[::1]:3000', 'http://127.0.0.1:3000'])
    expect(loadConfig({ HOST: '::1', PUBLIC_URL: url }).openUrl).toBe(url)
  expect(loadConfig({ PORT: '80' })).toMatchObject({
    publicUrl: 'http://127.0.0.1',
    allowedOrigins: ['http://127.0.0.1'],
  })
})

test('the owner of the ledger is the login of DATABASE_URL unless another is named, and never alone', () => {
  const [service, owner] = ['postgres://service@db/x', 'postgres://owner@db/x']
  expect(loadConfig({ DATABASE_URL: owner }).migrationDatabaseUrl).toBe(owner)
  const both = loadConfig({ DATABASE_URL: service, MIGRATION_DATABASE_URL: owner })
  expect(both).toMatchObject({ databaseUrl: service, migrationDatabaseUrl: owner })
  expect(problemOf({ MIGRATION_DATABASE_URL: owner })).toMatch(
    /^DATABASE_URL: is required with MIGRATION_DATABASE_URL, such as /,
  )
})

describe('in production', () => {
  test('production starts with these four variables and closed registration', () => {
    expect(loadConfig(production)).toMatchObject({
      isProduction: true,
      isSecure: true,
      registration: 'closed',
      rateLimits: 'on',
    })
  })

  const refused: [what: string, name: string, changes: Record<string, string>][] = [
    ['no database', 'DATABASE_URL', { DATABASE_URL: '' }],
    ['no secret', 'AUTH_SECRET', { AUTH_SECRET: '' }],
    ['a public URL over http', 'PUBLIC_URL', { PUBLIC_URL: 'http://auth.example.com' }],
    ['no public URL on all interfaces', 'PUBLIC_URL', { PUBLIC_URL: '', HOST: '0.0.0.0' }],
    ['no rate limits', 'RATE_LIMITS', { RATE_LIMITS: 'off' }],
    ['a page over http', 'ALLOWED_ORIGINS', { ALLOWED_ORIGINS: 'http://app.example.com' }],
    ['a repeated token', 'REVOCATIONS_TOKEN', { REVOCATIONS_TOKEN: 'a'.repeat(40) }],
    ['a short token', 'SIGN_IN_TOKEN', { SIGN_IN_TOKEN: 'q7Lw4Xr8Vb1Mn6Kx' }],
    ['a short token', 'REVOCATIONS_TOKEN', { REVOCATIONS_TOKEN: 'q7Lw4Xr8Vb1Mn6Kx' }],
    ['a sample token', 'METRICS_TOKEN', { METRICS_TOKEN: 'changeme-q7Lw4Xr8Vb1Mn6KxTz5Pd2Hs' }],
    ['a secret that was not changed', 'AUTH_SECRET_PREVIOUS', { AUTH_SECRET_PREVIOUS: testSecret }],
    ['AUTH_SECRET as a token that is sent', 'METRICS_TOKEN', { METRICS_TOKEN: testSecret }],
  ]
  const unverified = [
    'postgres://u:p@db.internal/x',
    'postgres://u:p@db.internal/x?sslmode=require',
    'postgres://u:p@db.internal/x?sslmode=verify-full&sslmode=disable',
    'postgres://u:p@127.0.0.1,db.internal/x',
    'postgres:///x',
  ]
  test.each([
    ...refused,
    ...unverified.map((url) => [url, 'DATABASE_URL', { DATABASE_URL: url }] as const),
  ])('CK-07 (ASVS 13.4.2): production refuses %s and names %s', (_what, name, changes) => {
    const problem = problemOf({ ...production, ...changes })
    expect(problem).toMatch(new RegExp(`^${name}: .+`))
    expect(problem).not.toMatch(/PUBLIC_DEVELOPMENT|\n/)
  })

  test.each([
    ['the embedded Postgres if allowed', { DATABASE_URL: '', EMBEDDED_POSTGRES: 'allow' }],
    ['http on 127.0.0.1', { PUBLIC_URL: 'http://127.0.0.1:3000' }],
    ['http on localhost', { PUBLIC_URL: 'http://localhost:3000' }],
    ['http on [::1]', { PUBLIC_URL: 'http://[::1]:3000' }],
    ['open registration', { REGISTRATION: 'open' }],
    ['a page over http on loopback', { ALLOWED_ORIGINS: 'http://localhost:5173' }],
    ['a token as openssl makes it', { METRICS_TOKEN: '5c0e7a41f93bd268170fe5ab94c36d82' }],
    ['a database on loopback', { DATABASE_URL: 'postgres://u:p@127.0.0.1:5432/x' }],
    ['a database on a socket', { DATABASE_URL: 'postgres://u@%2Fvar%2Frun%2Fpostgresql,/x' }],
    [
      'a database without TLS on a private network, if allowed',
      { DATABASE_URL: 'postgres://u:p@postgres/x', DATABASE_WITHOUT_TLS: 'allow' },
    ],
  ])('production allows %s', (_what, changes) => {
    expect(problemOf({ ...production, ...changes })).toBe('none')
  })
})

describe('beyond loopback without NODE_ENV=production', () => {
  const { NODE_ENV: _, ...unmarked } = production
  test.each([
    ['an https PUBLIC_URL', {}],
    ['an https PUBLIC_URL and NODE_ENV=development', { NODE_ENV: 'development' }],
    ['HOST=0.0.0.0', { HOST: '0.0.0.0', PUBLIC_URL: 'http://127.0.0.1:3000' }],
    ['HOST=::', { HOST: '::', PUBLIC_URL: 'http://localhost:3000' }],
  ])('CK-07 (ASVS 13.4.2): %s has the rules and defaults of production', (_what, changes) => {
    const env = { ...unmarked, ...changes }
    expect(loadConfig(env)).toMatchObject({ isProduction: true, registration: 'closed' })
    for (const [name, broken] of [
      ['RATE_LIMITS', { RATE_LIMITS: 'off' }],
      ['AUTH_SECRET', { AUTH_SECRET: '' }],
      ['DATABASE_URL', { DATABASE_URL: '' }],
    ] as const)
      expect(problemOf({ ...env, ...broken })).toMatch(
        new RegExp(`^${name}: .*to develop there, set PUBLIC_DEVELOPMENT=allow$`),
      )
  })

  test.each([
    ['HOST=0.0.0.0', { HOST: '0.0.0.0' }],
    ['an https PUBLIC_URL', { PUBLIC_URL: 'https://dev.example.com' }],
    [
      'an https PUBLIC_URL on loopback',
      { PUBLIC_URL: 'https://localhost', PUBLIC_DEVELOPMENT: '' },
    ],
  ])('%s stays in development if that is allowed', (_what, changes) => {
    const env = { PUBLIC_DEVELOPMENT: 'allow', ...changes }
    expect(loadConfig(env)).toMatchObject({ isProduction: false, registration: 'open' })
  })

  test('PUBLIC_DEVELOPMENT changes nothing under NODE_ENV=production', () => {
    const env = { ...production, PUBLIC_DEVELOPMENT: 'allow' }
    expect(loadConfig(env)).toMatchObject({ isProduction: true })
  })
})

describe('the server process', () => {
  const main = 'server/main.ts'

  test('the server exits 3 with one line when a % in DATABASE_URL is not written as %25', async () => {
    const outcome = await run(main, [], { env: { DATABASE_URL: 'postgres://boss:p%w@db/x' } })
    expect(outcome.code).toBe(3)
    expect(outcome.stderr).toMatch(/^token-ledger: DATABASE_URL: .*such as postgres:[^\n]+\n$/)
  })

  test('the server exits with one line when its configuration is bad', async () => {
    const outcome = await run(main, [], { env: { ACCESS_TOKEN_SECONDS: '901' } })
    expect(outcome.code).not.toBe(0)
    expect(outcome.stdout).toBe('')
    expect(outcome.stderr).toMatch(/^token-ledger: ACCESS_TOKEN_SECONDS: .*such as 900\n$/)
  })

  test('the server exits 1 with one line that names the host when the database is unreachable', async () => {
    const port = await freePort()
    const env = {
      DATABASE_URL: `postgres://someone:hunter2@127.0.0.1:${port}/nothing`,
      AUTH_SECRET: testSecret,
    }
    const outcome = await run(main, [], { env })
    expect(outcome.code).toBe(1)
    expect(outcome.stderr).toMatch(/^token-ledger: [^\n]+\n$/)
    expect(outcome.stderr).toContain(`127.0.0.1:${port}`)
    expect(outcome.stderr).not.toContain('hunter2')
  })
})
