import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql } from 'postgres'
import { afterAll, beforeAll, expect } from 'vitest'
import { freshDatabase, type FreshDatabase } from './database.ts'
import { metricsOf } from './metrics.ts'
import { raw, type RawAnswer } from './raw-http.ts'
import { startServer, type ServerProcess } from './server.ts'
import { makeUser } from './users.ts'

/** A service in a process of its own for all tests of a file; its fields may be used inside the tests alone. */
export type AttackedServer = {
  readonly url: string
  readonly server: ServerProcess
  readonly database: FreshDatabase
  /** The same database, under the name that helpers such as `signIn` ask for. */
  readonly owner: FreshDatabase
  /** Connected as the role that owns all tables. */
  readonly sql: Sql
  /** Sends a request exactly as given, and checks its answer (see `attackedServer`). */
  request(path: string, options?: AttackRequest): Promise<AttackAnswer>
  /** Sends bytes on a connection of their own, reads until the server closes it, and checks the answers as well. */
  raw(bytes: string | Buffer): Promise<RawConversation>
  /** Runs the attack, and then expects every table unchanged but for the rate limits and what processes write by themselves. */
  unchanged<Result>(attack: () => Promise<Result>): Promise<Result>
}

export type AttackRequest = {
  /** POST unless given. */
  readonly method?: string
  readonly headers?: Record<string, string | string[]>
  readonly body?: string | Buffer
  /** A JSON body, sent with its content type. */
  readonly json?: unknown
  /** Hangs up on an answer that has not ended by then; for streams. */
  readonly leaveAfterMs?: number
}

export type AttackAnswer = RawAnswer & {
  /** The text as JSON; null if it is not JSON. */
  readonly body: any
}

export type RawConversation = {
  readonly text: string
  /** The status of each answer, in order. */
  readonly statuses: readonly number[]
  readonly isClosed: boolean
}

export type AttackRules = {
  /** The attack is a flood, so that `503` with `Retry-After` is a correct answer as well. */
  readonly mayShed?: boolean
}

/** An admin who exists from the start, with `testPassword`. */
export const adminEmail = 'admin@example.com'

/** How long the server may take to close a connection. */
const maxOpenMs = 30_000

/** Internals that no answer may show: a stack trace, a path, SQL or the name of a library. */
const internals =
  /\n\s+at |\bat \S+ \(|node_modules|node:internal|\.(ts|js|mjs):\d+|file:\/\/|\/server\/|\b(select|insert|update)\b.{1,200}\b(from|into|set)\b|token_(ledger|audit)\.|postgres|drizzle|fastify|FST_ERR/i

/**
 * Starts the service once for this file. At the end of the file the same process must still answer, its ledger must
 * verify, and no answer may have been a 5xx or have shown internals.
 */
export function attackedServer(
  env: Record<string, string> = {},
  rules: AttackRules = {},
): AttackedServer {
  let database: FreshDatabase
  let server: ServerProcess
  let startedAt: string
  let answers = 0
  const bad: string[] = []

  const checkAnswer = (what: string, status: number, text: string, retryAfter: unknown) => {
    answers += 1
    const isShed = rules.mayShed === true && status === 503 && retryAfter !== undefined
    if (status >= 500 && !isShed) bad.push(`${what}: ${status} ${text.slice(0, 300)}`)
    if (internals.test(text)) bad.push(`${what}: shows ${internals.exec(text)![0]}`)
  }

  beforeAll(async () => {
    database = await freshDatabase()
    // Without any user the service creates an admin of its own, some time after it is ready.
    await makeUser(database.url, adminEmail, 'admin')
    server = await startServer(database.url, env)
    startedAt = await startOf(server)
  })

  afterAll(async () => {
    try {
      expect(bad, 'answers that are a 5xx or show internals').toEqual([])
      expect(answers, 'answers that were checked').toBeGreaterThan(0)
      expect(process.kill(server.pid, 0)).toBe(true)
      expect(await startOf(server), 'the same process answers as at the start').toBe(startedAt)
      expect(server.output()).not.toMatch(/"level":[56]0|uncaught/)
      const broken = await database.ownerSql`select * from token_audit.verify_ledger()`
      expect(broken, 'families of the ledger that do not verify').toHaveLength(0)
    } finally {
      await server[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    }
  })

  return {
    get url() {
      return server.url
    },
    get server() {
      return server
    },
    get database() {
      return database
    },
    get owner() {
      return database
    },
    get sql() {
      return database.ownerSql
    },
    async request(path, { method = 'POST', headers = {}, body, json, leaveAfterMs } = {}) {
      const isJson = json !== undefined
      const text = isJson ? JSON.stringify(json) : body
      const answer = await raw(server.url + path, {
        method,
        headers: { ...(isJson && { 'content-type': 'application/json' }), ...headers },
        // As bytes: Node would send the headers in the encoding of a text body.
        ...(text !== undefined && { body: Buffer.from(text) }),
        ...(leaveAfterMs !== undefined && { leaveAfterMs }),
      })
      checkAnswer(`${method} ${path}`, answer.status, answer.text, answer.headers['retry-after'])
      // A stream gives its reason in its last message.
      const [, lastReason] = /"reason":"(\w+)"/.exec(answer.text) ?? []
      return { ...answer, reason: answer.reason ?? lastReason, body: parsed(answer.text) }
    },
    async raw(bytes) {
      const conversation = await converse(server.url, bytes)
      const { text, statuses } = conversation
      const retryAfter = /^retry-after:/im.exec(text) ?? undefined
      for (const status of statuses) checkAnswer(firstLine(bytes), status, text, retryAfter)
      return conversation
    },
    async unchanged(attack) {
      const before = await checksums(database.ownerSql)
      const result = await attack()
      expect(await checksums(database.ownerSql)).toEqual(before)
      return result
    },
  }
}

/** A checksum of each table but those of the rate limits and those that a process writes by itself: marks, counts of hours and the log. */
async function checksums(sql: Sql): Promise<Record<string, string>> {
  const tables = await sql<{ name: string }[]>`
    select relname as name
    from pg_class
    where relnamespace = 'token_ledger'::regnamespace
      and relkind in ('r', 'p') and not relispartition 
      and relname not in ('rate_limit', 'process_mark', 'event_hour') and relname not like 'log\\_%'
    order by relname`
  const sums: Record<string, string> = {}
  for (const { name } of tables) {
    const [row] = await sql<{ rows: number; sum: string }[]>`
      select count(*)::int as rows, coalesce(md5(string_agg(t::text, ';' order by t::text)), '') as sum
      from token_ledger.${sql(name)} t`
    sums[name] = `${row!.rows} rows, ${row!.sum}`
  }
  return sums
}

/** Identifies the process that answers by the time of its start. */
async function startOf({ url }: ServerProcess): Promise<string> {
  const text = await metricsOf(url)
  return /^process_start_time_seconds .*$/m.exec(text)![0]
}

async function converse(url: string, bytes: string | Buffer): Promise<RawConversation> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  // The server may cut the connection while the test still sends; that is an answer as well.
  socket.on('error', () => {})
  const closed = once(socket, 'close').then(
    () => true,
    () => true,
  )
  await once(socket, 'connect')
  socket.write(bytes)
  const isClosed = await Promise.race([closed, sleep(maxOpenMs, false, { ref: false })])
  socket.destroy()
  const text = Buffer.concat(chunks).toString('latin1')
  const statuses = [...text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status))
  return { text, statuses, isClosed }
}

function firstLine(bytes: string | Buffer): string {
  return JSON.stringify(bytes.toString().slice(0, 80))
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
