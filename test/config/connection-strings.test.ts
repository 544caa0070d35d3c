import { describe, expect, test } from 'vitest'
import { addressOf, BadConnectionString } from '../../db/connection/connection-string.ts'
import { targetOf } from '../../db/connection/target.ts'
import { parameters } from '../../db/connection/string-parameters.ts'
import { loadConfig, type Config } from '../../server/config/config.ts'
import { hideLibpqVariables } from '../../server/config/libpq-variables.ts'
import { codeIn, readPage, rowsOf, sectionOf } from '../docs/pages.ts'

const page = readPage('docs/reference/connection-strings.md')

const documented = rowsOf(sectionOf(page, 'Parameters')).map(
  ([name = '', variable = '', values = '']) => ({
    name: codeIn(name)[0] ?? '',
    variable: codeIn(variable)[0],
    values: values === 'any' || values === 'none' ? values : codeIn(values),
  }),
)

/** The config, or the line that refuses it. */
function load(env: Record<string, string>): Config | string {
  try {
    return loadConfig(env)
  } catch (error) {
    return error instanceof Error ? error.message : 'thrown'
  }
}

const place = 'postgres://db.example.com/ledger'
const config = expect.objectContaining({ host: '127.0.0.1' })
const oneLine = /^[^\n]+$/

/** A value of each parameter that its rules do not look at. */
const anyValue = (name: string) => (name === 'port' ? '5433' : 'system')
const isFile = (name: string) => ['sslcert', 'sslkey'].includes(name)

test('docs/reference/connection-strings.md has every parameter, its variable and its values', () => {
  const known = Object.entries(parameters).map(([name, rule]) => ({ name, ...rule }))
  const byName = <T extends { name: string }>(list: readonly T[]) =>
    Object.fromEntries(list.map((row) => [row.name, row]))
  expect(documented.length).toBeGreaterThan(40)
  expect(byName(documented)).toEqual(byName(known))
})

describe.each(documented.map((row) => [row.name, row] as const))('%s', (name, row) => {
  const { variable, values } = row
  const accepted = values === 'none' ? [] : values === 'any' ? [anyValue(name)] : values

  test.runIf(accepted.length > 0 && !isFile(name))('works as a parameter and as a variable', () => {
    for (const value of accepted) {
      expect([value, load({ DATABASE_URL: `${place}?${name}=${value}` })]).toEqual([value, config])
      if (variable !== undefined)
        expect([value, load({ DATABASE_URL: place, [variable]: value })]).toEqual([value, config])
    }
  })

  test.runIf(values !== 'any')('is refused with another value in one line that names it', () => {
    const refusal = load({ DATABASE_URL: `${place}?${name}=hunter2` })
    expect(refusal).toMatch(new RegExp(`^DATABASE_URL: its parameter ${name} `))
    expect(refusal).toMatch(oneLine)
    expect(refusal).not.toContain('hunter2')
    if (variable === undefined) return
    const ofVariable = load({ DATABASE_URL: place, [variable]: 'hunter2' })
    expect(ofVariable).toMatch(new RegExp(`^${variable}: `))
    expect(ofVariable).toMatch(oneLine)
    expect(ofVariable).not.toContain('hunter2')
    // What the embedded Postgres does not read cannot stop it.
    expect(load({ [variable]: 'hunter2' })).toBeTypeOf('object')
  })
})

test('every form of docs/reference/connection-strings.md is read', () => {
  const forms = rowsOf(sectionOf(page, 'Forms')).map(([, example = '']) => codeIn(example)[0]!)
  const read = forms.map((form) => {
    const { hosts, database, user, password } = addressOf(form)
    const places = hosts.map(({ name, port }) => `${name} ${port}`)
    return [places.join(', '), database, user, password]
  })
  expect(read).toEqual([
    ['db.example.com 5432', 'database', 'user', 'password'],
    ['db.example.com 5432', 'database', 'user', 'password'],
    ['one 5432, two 5433', 'database', 'user', undefined],
    ['::1 5432', 'database', 'user', undefined],
    ['/var/run/postgresql 5432', 'database', 'user', undefined],
    ['/var/run/postgresql 5432', 'database', 'user', undefined],
    ['db 5432', 'my database', 'user', 'p@ss/word'],
    ['db 5432', 'database', 'user', 'password'],
  ])
})

test.each([
  [
    'Neon',
    'postgresql://u:npg_x@ep-a-b-pooler.eu.aws.neon.tech/neondb?sslmode=require&channel_binding=require',
  ],
  ['Supabase', 'postgresql://postgres.abc:p@aws-0-eu.pooler.supabase.com:5432/postgres'],
  ['Supabase for Prisma', 'postgres://u:p@db:6543/postgres?pgbouncer=true&connection_limit=1'],
  ['Prisma', 'postgresql://u:p@db:5432/x?schema=public'],
  ['Vercel', 'postgres://u:p@db:5432/x?sslmode=require&supa=base-pooler.x'],
  ['Heroku', 'postgres://u:p@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d1'],
  [
    'DigitalOcean',
    'postgresql://doadmin:p@db-do-user-1-0.b.db.ondigitalocean.com:25060/defaultdb?sslmode=require',
  ],
  ['Aiven', 'postgres://avnadmin:p@pg-x.aivencloud.com:12691/defaultdb?sslmode=require'],
  ['Azure', 'postgres://me%40host:p@x.postgres.database.azure.com:5432/postgres?sslmode=require'],
  ['Cloud SQL over a socket', 'postgres://u:p@/x?host=/cloudsql/project:region:instance'],
  ['Render', 'postgresql://u:p@dpg-x-a/x'],
  ['node-postgres', 'postgres://u:p@db/x?sslmode=require&uselibpqcompat=true'],
  [
    'libpq',
    'postgres://u:p@db/x?keepalives=1&keepalives_idle=30&gssencmode=disable&connect_timeout=10',
  ],
])('a string as %s prints it is taken', (_provider, url) => {
  expect(load({ DATABASE_URL: url })).toBeTypeOf('object')
})

test.each([
  ['a port that is none', 'postgres://u:hunter2@db:port/x'],
  ['a port beyond 65535', 'postgres://u:hunter2@db:65536/x'],
  ['IPv6 without brackets', 'postgres://u:hunter2@::1/x'],
  ['a raw # in a password', 'postgres://u:hunter2#x@db/x'],
  ['a raw ? in a password', 'postgres://u:pass?hunter2@db/x'],
  ['more ports than hosts', 'postgres://u:hunter2@/x?host=a,b&port=1,2,3'],
  ['a socket and a host', 'postgres://u:hunter2@/x?host=/run/postgresql,db'],
  ['a parameter that is not known', 'postgres://u:hunter2@db/x?search_path=hunter2'],
  ['a name of every object', 'postgres://u:hunter2@db/x?toString=hunter2'],
  ['a part of a password', 'postgres://u:p@db/x?sslmode=require&hunter2@c'],
  ['a certificate that is not there', 'postgres://u:hunter2@db/x?sslmode=require&sslcert=/hunter2'],
])('%s is refused in one line without a value', (_what, url) => {
  const refusal = load({ DATABASE_URL: url })
  expect(refusal).toMatch(/^DATABASE_URL: /)
  expect(refusal).toMatch(oneLine)
  expect(refusal).not.toContain('hunter2')
})

test('a variable fills in what the string leaves open, and nothing else', () => {
  const env = { PGHOST: 'other', PGPORT: '5433', PGPASSWORD: 'hunter2', PGDATABASE: 'other' }
  const { databaseUrl } = load({ DATABASE_URL: 'postgres://u@db/x', ...env }) as Config
  expect(addressOf(databaseUrl!)).toMatchObject({
    hosts: [{ name: 'db', port: 5433 }],
    database: 'x',
    user: 'u',
    password: 'hunter2',
  })
  const { databaseUrl: open } = load({ DATABASE_URL: 'postgres://', ...env }) as Config
  expect(addressOf(open!)).toMatchObject({ hosts: [{ name: 'other', port: 5433 }] })
})

test('PGPASSFILE is refused only where the password is missing', () => {
  const PGPASSFILE = '/home/me/.pgpass'
  expect(load({ DATABASE_URL: 'postgres://u@db/x', PGPASSFILE })).toMatch(/^PGPASSFILE: /)
  expect(load({ DATABASE_URL: 'postgres://u:p@db/x', PGPASSFILE })).toBeTypeOf('object')
  const PGPASSWORD = 'hunter2'
  expect(load({ DATABASE_URL: 'postgres://u@db/x', PGPASSFILE, PGPASSWORD })).toBeTypeOf('object')
})

test('the driver sees no variable of libpq or of its own', () => {
  const env = { PGTARGETSESSIONATTRS: 'any', PGMAX_LIFETIME: '1', PGHOST: 'x', PORT: '1' }
  hideLibpqVariables(env)
  expect(env).toEqual({ PORT: '1' })
})

const production = {
  NODE_ENV: 'production',
  PUBLIC_URL: 'https://auth.example.com',
  AUTH_SECRET: 'T7n2kq9Lw4Zr8Xc1Vb6Ms3Hd5Gf0JyPaQeUiOtYzBxNvRm',
}

test.each([
  [`${place}?sslmode=verify-full`, {}],
  [`${place}?sslmode=require&channel_binding=require`, {}],
  [place, { PGSSLMODE: 'verify-full' }],
  ['postgres:///x', { PGHOST: '/var/run/postgresql' }],
])('production takes %s with %j', (url, env) => {
  expect(load({ ...production, DATABASE_URL: url, ...env })).toBeTypeOf('object')
})

test.each([
  ['postgres:///x', { PGHOST: 'db.example.com' }],
  ['postgres://127.0.0.1/x?host=db.example.com', {}],
  [`${place}?sslmode=verify-ca`, {}],
  [`${place}?sslmode=verify-full`, { MIGRATION_DATABASE_URL: place }],
])('production refuses %s with %j, which is not verified', (url, env) => {
  expect(load({ ...production, DATABASE_URL: url, ...env })).toMatch(/DATABASE_URL: must verify/)
})

test('a string that cannot be read is refused where it is used as well', () => {
  expect(() => targetOf('')).toThrow(BadConnectionString)
})
