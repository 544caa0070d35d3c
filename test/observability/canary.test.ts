import { randomBytes, randomUUID } from 'node:crypto'
import type { Sql } from 'postgres'
import { expect, test } from 'vitest'
import { freshDatabase } from '../support/database.ts'
import { refreshCookieIn, type Answer } from '../support/http.ts'
import { startDatabaseWire } from '../support/wire.ts'
import { startServer } from '../support/server.ts'

/** Secrets that were sent or handed out, each unmistakable, and everything that was seen of the service. */
function startWatch() {
  const secrets = new Map<string, string>()
  const errorBodies: string[] = []
  let last = ''
  return {
    errorBodies,
    /** Makes a secret that no other text holds. */
    plant(what: string): string {
      return this.guard(what, `${what.replaceAll(' ', '-')}-${randomBytes(9).toString('hex')}`)
    },
    guard(what: string, value: string): string {
      const bytes = Buffer.from(value)
      secrets.set(value, what)
      secrets.set(bytes.toString('hex'), `${what}, in hex`)
      // Without the last characters, which depend on what follows.
      secrets.set(bytes.toString('base64').replace(/=*$/, '').slice(0, -1), `${what}, in base64`)
      return value
    },
    /** The parts of a token as well: its secret as bytes, in each encoding. */
    guardRefreshToken(value: string): string {
      const secret = Buffer.from(value.replace('tlr1.', ''), 'base64url').subarray(20, 52)
      last = value
      secrets.set(secret.toString('hex'), 'the secret of a refresh token')
      secrets.set(secret.toString('base64').slice(0, 40), 'the secret of a refresh token')
      secrets.set(secret.toString('base64url').slice(0, 40), 'the secret of a refresh token')
      return this.guard('a refresh token', value)
    },
    lastRefreshToken: () => last,
    /** The secrets that the text holds and must not. */
    leaksIn(text: string, isAllowed: (what: string) => boolean = () => false): string[] {
      const lowered = text.toLowerCase()
      return [...secrets]
        .filter(([value, what]) => lowered.includes(value.toLowerCase()) && !isAllowed(what))
        .map(([, what]) => what)
    },
  }
}

type Watch = ReturnType<typeof startWatch>

test('RT-02, LG-01, LG-06, V18 (RFC 9700 §4.14.1, ASVS 16.2.5 and 16.5.1): no secret of a caller is in a log line, an error or a table, whatever goes wrong', async () => {
  const watch = startWatch()
  await using database = await freshDatabase()
  const { ownerSql } = database
  const signInToken = watch.plant('the credential of a sign-in service')
  await using wire = await startDatabaseWire(database.url)
  await using server = await startServer(wire.url, {
    LOG_LEVEL: 'trace',
    ROTATION_GRACE_SECONDS: '0',
    SIGN_IN_TOKEN: signInToken,
  })
  const call = caller(server.url, watch)

  await signInFromAService(call, watch, signInToken)
  await succeedAndBeRefused(call, watch, server.url)
  await sendWhatCannotBeRead(call, watch)
  await breakTables(call, watch, ownerSql, server.url)
  wire.cut()
  await loseTheDatabase(call, watch, server.url)

  const seen = new Set(watch.errorBodies.map((body) => JSON.parse(body).error.data.reason))
  for (const reason of expectedReasons) expect([...seen]).toContain(reason)
  for (const body of watch.errorBodies) {
    // A page's own origin is no secret: the message says which one to allow.
    expect(watch.leaksIn(body, (what) => what === 'an-origin')).toEqual([])
    expect(body).not.toMatch(/\n\s+at |\.ts:\d|node_modules|stack/)
    expect(body).not.toMatch(
      /select |insert |update |token_ledger|relation|violates|42P01|postgres/i,
    )
  }
  const log = server.output()
  expect(log.split('\n').filter((line) => line.startsWith('{')).length).toBeGreaterThan(20)
  expect(watch.leaksIn(log)).toEqual([])
  const dump = await dumpAll(ownerSql)
  expect(dump).toContain('$argon2id$')
  expect(watch.leaksIn(dump, (what) => what.startsWith('an address that has an account'))).toEqual(
    [],
  )
})

const expectedReasons = [
  'validation_failed',
  'invalid_credentials',
  'sign_in_refused',
  'refresh_token_malformed',
  'refresh_token_reused',
  'transport_mismatch',
  'access_token_invalid',
  'access_token_revoked',
  'email_taken',
  'origin_not_allowed',
  'not_found',
  'unsupported_media_type',
  'payload_too_large',
  'internal_error',
  'service_unavailable',
]

type Call = ReturnType<typeof caller>

function caller(url: string, watch: Watch) {
  return async (
    path: string,
    body: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> => {
    const response = await fetch(`${url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': 'canary', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })
    const text = await response.text()
    if (!response.ok) watch.errorBodies.push(text)
    const answered = JSON.parse(text)
    const answer = {
      status: response.status,
      headers: response.headers,
      data: answered.result?.data,
      reason: answered.error?.data.reason,
      incidentId: undefined,
      body: answered,
    }
    if (answer.data?.accessToken) watch.guard('an access token', answer.data.accessToken)
    const handedOut = answer.data?.refreshToken ?? refreshCookieIn(answer)
    if (handedOut) watch.guardRefreshToken(handedOut)
    return answer
  }
}

const accountEmail = (watch: Watch) =>
  watch.guard(
    'an address that has an account',
    `account-${randomBytes(6).toString('hex')}@example.com`,
  )
const failingEmail = (watch: Watch) =>
  watch.guard('an address in a failure', `failing-${randomBytes(6).toString('hex')}@example.com`)
const attempt = (watch: Watch) => watch.guard('an attempt id', randomUUID())
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

/** With the right credential and with others, in each place where a caller may put it by mistake. */
async function signInFromAService(call: Call, watch: Watch, token: string): Promise<void> {
  const account = { email: accountEmail(watch), password: watch.plant('a password') }
  const { user } = (await call('/auth/register', account)).data
  const path = '/auth/sessions'
  const body = () => ({
    user: user.id,
    methods: ['fed'],
    transport: 'body',
    attemptId: randomUUID(),
  })
  expect((await call(path, body(), bearer(token))).status).toBe(200)
  await call(path, body(), bearer(watch.plant('another credential')))
  await call(path, body(), { authorization: token })
  await call(path, body(), { ...bearer(token), origin: 'https://evil.example' })
  await call(path, { ...body(), token }, bearer(token))
  await call(path, { ...body(), methods: [token] }, bearer(token))
  await call(path, { ...body(), user: randomUUID() }, bearer(token))
  await call(path, `{"user":"${token}`, bearer(token))
  await call(`${path}?token=${token}`, body())
}

async function succeedAndBeRefused(call: Call, watch: Watch, url: string): Promise<void> {
  const email = accountEmail(watch)
  const password = watch.plant('a password')
  const wrong = watch.plant('a wrong password')
  expect((await call('/auth/register', { email, password })).status).toBe(200)
  await call('/auth/register', { email, password: watch.plant('a password of a taken address') })
  await call('/auth/register', { email: failingEmail(watch), password: 'short' })
  await call('/auth/login', { email, password: wrong })
  await call('/auth/login', { email: failingEmail(watch), password: wrong })
  await call('/auth/login', { email, password: [wrong], [watch.plant('a key')]: wrong })
  await call('/auth/login', { email: { [wrong]: wrong }, password })
  await call('/auth/login', { email, password }, { origin: `https://${watch.plant('an-origin')}` })

  const other = (await call('/auth/login', { email, password, transport: 'body' })).data
  const session = (await call('/auth/login', { email, password, transport: 'body' })).data
  const { accessToken, refreshToken } = session
  const attemptId = attempt(watch)
  expect((await call('/auth/refresh', { refreshToken, attemptId })).status).toBe(200)
  expect((await call('/auth/refresh', { refreshToken, attemptId })).status).toBe(200)
  await call('/auth/refresh', { refreshToken, attemptId: `${attemptId}-${wrong}` })
  await call('/auth/refresh', {}, cookie(other.refreshToken, url))
  await call('/auth/refresh', { refreshToken: other.refreshToken }, cookie(refreshToken, url))
  await call('/auth/refresh', { refreshToken: watch.plant('a token that is not ours') })
  const proof = { refreshToken: other.refreshToken, attemptId: attempt(watch) }
  await call('/auth/reauthenticate', { ...proof, password: wrong })
  await call('/auth/reauthenticate', { ...proof, password: 7 })
  await call('/auth/refresh', {}, cookie(watch.plant('a cookie that is not ours'), url))

  const authorization = bearer(accessToken)
  const newPassword = watch.plant('a new password')
  const change = { currentPassword: password, newPassword }
  const path = '/trpc/account.changePassword'
  await call(path, { ...change, currentPassword: wrong }, authorization)
  await call(path, { ...change, newPassword: 'short' }, authorization)
  await call(path, `{"currentPassword":"${password}",`, authorization)
  await call(path, { ...change, newPassword: 7 }, authorization)
  await call(path, change, bearer(watch.plant('an access token that is not ours')))
  await call(path, change, { authorization: watch.plant('an authorization header') })
  expect((await call(path, change, authorization)).status).toBe(200)
  await call('/trpc/sessions.revoke', { familyId: randomUUID() }, authorization)
  await call('/trpc/account.nothing', change, authorization)
  await call('/auth/logout', { refreshToken: other.refreshToken })
  // A spent token: the family ends, and its access token with it.
  await call('/auth/refresh', { refreshToken, attemptId: attempt(watch) })
  await call('/trpc/sessions.revokeOthers', '', authorization)
}

/** Bodies that cannot be read, of refused types, and too large ones. */
async function sendWhatCannotBeRead(call: Call, watch: Watch): Promise<void> {
  const password = watch.plant('a password in a broken body')
  for (const path of ['/auth/login', '/trpc/account.changePassword']) {
    await call(path, `{"email":"${failingEmail(watch)}","password":"${password}"`)
    await call(path, password)
    await call(path, `password=${password}`, {
      'content-type': 'application/x-www-form-urlencoded',
    })
    await call(path, JSON.stringify({ password: password.repeat(1_000) }))
  }
  await call(`/${password}?password=${password}`, { password })
}

/** Tables of another shape, and triggers that refuse a row and quote it. */
async function breakTables(call: Call, watch: Watch, ownerSql: Sql, url: string): Promise<void> {
  const email = accountEmail(watch)
  const password = watch.plant('a password in front of a broken table')
  const account = { email, password }
  expect((await call('/auth/register', account)).status).toBe(200)
  const session = (await call('/auth/login', { ...account, transport: 'body' })).data
  const refresh = { refreshToken: session.refreshToken, attemptId: attempt(watch) }
  const change = {
    currentPassword: password,
    newPassword: watch.plant('a new password, not taken'),
  }
  await ownerSql.unsafe(`
    create function public.refuse() returns trigger language plpgsql as $$
    begin
      raise exception 'no: %', new;
    end $$;
    create trigger a_refuse before insert on token_ledger.token_event
    for each row execute function public.refuse();
    create trigger a_refuse before insert or update on token_ledger.user_account
    for each row execute function public.refuse()`)
  const register = { email: failingEmail(watch), password }
  const internal = [
    await call('/auth/register', register),
    await call('/auth/login', account),
    await call('/auth/refresh', refresh),
    await call('/auth/reauthenticate', { ...refresh, password }),
    await call('/auth/logout', { refreshToken: session.refreshToken }),
    await call('/trpc/account.changePassword', change, bearer(session.accessToken)),
  ]
  await ownerSql`alter table token_ledger.user_account rename column email to e_mail`
  internal.push(
    await call('/auth/register', register),
    await call('/auth/login', account),
    await call('/auth/login', account, cookie(session.refreshToken, url)),
    await call('/auth/refresh', refresh),
  )
  expect(internal.map(({ reason }) => reason)).toEqual(internal.map(() => 'internal_error'))
  await ownerSql`alter table token_ledger.user_account rename column e_mail to email`
}

async function loseTheDatabase(call: Call, watch: Watch, url: string): Promise<void> {
  const account = { email: failingEmail(watch), password: watch.plant('a password, unavailable') }
  const refreshToken = watch.lastRefreshToken()
  const away = [
    await call('/auth/login', account),
    await call('/auth/register', account),
    await call('/auth/refresh', { refreshToken, attemptId: attempt(watch) }),
    await call('/auth/reauthenticate', {
      refreshToken,
      attemptId: attempt(watch),
      password: account.password,
    }),
    await call('/auth/logout', { refreshToken }),
    await call('/auth/logout', { everywhere: true }, cookie(refreshToken, url)),
  ]
  expect(away.map(({ reason }) => reason)).toEqual(away.map(() => 'service_unavailable'))
}

function cookie(refreshToken: string, origin: string): Record<string, string> {
  return { cookie: `refresh_token=${refreshToken}`, origin }
}

/** Every column of every row of every table, as text; bytes in hex. */
async function dumpAll(ownerSql: Sql): Promise<string> {
  const tables = await ownerSql<{ name: string }[]>`
    select format('%I.%I', table_schema, table_name) as name
    from information_schema.tables
    where table_schema in ('token_ledger', 'token_audit', 'token_ledger_migrations')`
  expect(tables.length).toBeGreaterThan(6)
  const rows: string[] = []
  for (const { name } of tables)
    rows.push(
      ...(await ownerSql.unsafe(`select t::text as row from ${name} t`)).map(({ row }) => row),
    )
  return rows.join('\n')
}
