/**
 * Made `ledger-46fbb0c.sql.gz`, a `pg_dump` of a ledger that commit 46fbb0c wrote on three days, and
 * `ledger-46fbb0c.json`, what clients and people held after the last of them. Kept to show how: the two files are not
 * made again, because an upgrade must go on to work for a ledger written by that commit.
 *
 *   apt-get install faketime postgresql-15
 *   node --import tsx test/upgrade/make-ledger.ts    (as root, on Debian)
 *
 * The clocks are set to 2025, because an event may not come before the last one and a machine that runs the test may
 * have an early clock. Sessions of the last day live for 50 years, so that the test can refresh them for as long.
 */
import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { auth, mutate, refreshCookieIn } from '../support/http.ts'
import { testSecret } from '../support/server.ts'
import { type Day, serviceOf } from './service-of.ts'

/** What the test needs of clients and people: their tokens, their passwords, and the server's secret. */
export type Held = {
  readonly authSecret: string
  readonly passwords: Readonly<Record<string, string>>
  readonly userIds: Readonly<Record<string, string>>
  readonly sessions: Readonly<Record<string, HeldSession>>
}

export type HeldSession = {
  readonly familyId: string
  readonly transport: 'cookie' | 'body'
  /** The refresh token of each generation. */
  readonly tokens: string[]
  /** The attempt that made each generation; null for the sign-in. */
  readonly attemptIds: (string | null)[]
}

type Caller = { readonly ip: string; readonly userAgent: string }

const commit = '46fbb0c'
const folder = import.meta.dirname
const yearMs = 365 * 24 * 3_600_000
const env = { AUTH_SECRET: testSecret, RATE_LIMITS: 'off', TRUSTED_PROXIES: '127.0.0.0/8' }

const laptop: Caller = { ip: '203.0.113.7', userAgent: 'Firefox on a laptop' }
const phone: Caller = { ip: '2001:db8::7', userAgent: 'App/1.0 on a phone' }
const stranger: Caller = { ip: '198.51.100.66', userAgent: 'curl/8' }

const passwords: Record<string, string> = {}
const userIds: Record<string, string> = {}
const sessions: Record<string, HeldSession> = {}

await using service = await serviceOf(commit)

await service.on('2025-02-10T09:00:00Z', env, async (day) => {
  await createUser(day, 'ada@example.com', 'admin')
  for (const name of ['ben', 'cleo', 'dora']) await createUser(day, `${name}@example.com`)
  const archived = await signIn(day, 'archived', 'ben@example.com', laptop)
  await refresh(day, archived, laptop)
  await signIn(day, 'erased, archived', 'cleo@example.com', phone)
})

await service.on('2025-03-03T09:00:00Z', env, async (day) => {
  await refresh(day, await signIn(day, 'expired', 'ben@example.com', phone), phone)

  const reused = await signIn(day, 'reused', 'ben@example.com', laptop)
  for (let i = 0; i < 3; i++) await refresh(day, reused, laptop)
  await present(day, reused, stranger, { generation: 1, expected: 'refresh_token_reused' })

  const signedOut = await signIn(day, 'signed out', 'ben@example.com', laptop, 'cookie')
  await auth(day.url, 'logout', {}, { ...as(day, laptop), cookie: cookieOf(signedOut) })

  const admin = await accessTokenOf(day, 'ada@example.com', laptop)
  const revoked = await signIn(day, 'revoked by an admin', 'dora@example.com', phone)
  const reason = 'a phone was lost'
  await mutate(day.url, 'admin.sessions.revoke', admin, { familyId: revoked.familyId, reason })

  await signIn(day, 'user disabled', 'dora@example.com', phone)
  await day.cli(['user', 'disable', 'dora@example.com'])

  const erased = await signIn(day, 'erased', 'cleo@example.com', phone)
  await refresh(day, erased, phone)
  // The erasure must find this address, too.
  const input = { everywhere: true, refreshToken: erased.tokens.at(-1) }
  await auth(day.url, 'logout', input, as(day, laptop))
})

await service.on('2025-03-20T09:00:00Z', { ...env, SESSION_MS: `${50 * yearMs}` }, async (day) => {
  await day.cli(['ledger', 'archive', '--before', '2025-03-01', '--to', 'february.jsonl'])
  await day.cli(['user', 'erase', 'cleo@example.com'])

  const cookie = await signIn(day, 'cookie', 'ben@example.com', laptop, 'cookie')
  await refresh(day, cookie, laptop, randomUUID())
  await refresh(day, cookie, laptop, randomUUID())

  const body = await signIn(day, 'body', 'ada@example.com', phone)
  await refresh(day, body, phone, randomUUID())
  // A retry of the attempt, and a second process of the same device within the grace window.
  await replay(day, body, phone, body.attemptIds[1])
  await replay(day, body, phone, randomUUID())

  await refresh(day, await signIn(day, 'retried', 'ben@example.com', phone), phone, randomUUID())

  const toBeReused = await signIn(day, 'to be reused', 'ben@example.com', phone)
  await refresh(day, toBeReused, phone)
  await refresh(day, toBeReused, phone)

  const held: Held = { authSecret: testSecret, passwords, userIds, sessions }
  const name = path.join(folder, `ledger-${commit}`)
  await writeFile(`${name}.sql.gz`, gzipSync(await day.dump(), { level: 9 }))
  await writeFile(`${name}.json`, `${JSON.stringify(held, null, 2)}\n`)
})

async function createUser(day: Day, email: string, role = 'user'): Promise<void> {
  const password = `${email.split('@')[0]} likes long passwords`
  const words = ['user', 'create', '--email', email, '--role', role, '--password-stdin']
  userIds[email] = (await day.cli(words, `${password}\n`)).trim()
  passwords[email] = password
}

async function signIn(
  day: Day,
  name: string,
  email: string,
  caller: Caller,
  transport: 'cookie' | 'body' = 'body',
): Promise<HeldSession> {
  const input = { email, password: passwords[email], transport, deviceName: `${name} of ${email}` }
  const answer = await auth(day.url, 'login', input, as(day, caller))
  const token = tokenIn(answer, transport)
  const { familyId } = answer.data
  return (sessions[name] = { familyId, transport, tokens: [token], attemptIds: [null] })
}

/** Presents the current token and keeps its successor. */
async function refresh(
  day: Day,
  session: HeldSession,
  caller: Caller,
  attemptId = null as string | null,
): Promise<void> {
  const answer = await present(day, session, caller, { attemptId })
  session.tokens.push(tokenIn(answer, session.transport))
  session.attemptIds.push(attemptId)
}

/** Presents the current token's direct predecessor, which gets the current token again. */
async function replay(
  day: Day,
  session: HeldSession,
  caller: Caller,
  attemptId = null as string | null,
): Promise<void> {
  const generation = session.tokens.length - 2
  const answer = await present(day, session, caller, { generation, attemptId })
  if (tokenIn(answer, session.transport) !== session.tokens.at(-1)) throw new Error('no replay')
}

async function present(
  day: Day,
  session: HeldSession,
  caller: Caller,
  {
    generation = session.tokens.length - 1,
    attemptId = null as string | null,
    expected = undefined as string | undefined,
  },
) {
  const token = session.tokens[generation]
  const { transport } = session
  const input = {
    ...(attemptId !== null && { attemptId }),
    ...(transport === 'body' && { refreshToken: token }),
  }
  const cookie = transport === 'cookie' && { cookie: `refresh_token=${token}` }
  const answer = await auth(day.url, 'refresh', input, { ...as(day, caller), ...cookie })
  if (answer.reason !== expected) throw new Error(`refreshing: ${JSON.stringify(answer.body)}`)
  return answer
}

async function accessTokenOf(day: Day, email: string, caller: Caller): Promise<string> {
  const input = { email, password: passwords[email], transport: 'body' }
  const { data } = await auth(day.url, 'login', input, as(day, caller))
  return data.accessToken
}

function as({ url }: Day, { ip, userAgent }: Caller): Record<string, string> {
  return { origin: url, 'x-forwarded-for': ip, 'user-agent': userAgent }
}

function cookieOf({ tokens }: HeldSession): string {
  return `refresh_token=${tokens.at(-1)}`
}

function tokenIn(answer: Awaited<ReturnType<typeof auth>>, transport: 'cookie' | 'body'): string {
  const token = transport === 'cookie' ? refreshCookieIn(answer) : answer.data?.refreshToken
  if (typeof token !== 'string') throw new Error(`no token: ${JSON.stringify(answer.body)}`)
  return token
}
