import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql } from 'postgres'
import { afterAll, beforeAll, expect } from 'vitest'
import { freshDatabase, type FreshDatabase } from './database.ts'
import { raw, type RawAnswer } from './raw-http.ts'
import { startServer, type ServerProcess } from './server.ts'
import { makeUser } from './users.ts'

/** A service in a process of its own that a file of attacks shares; usable inside of its tests. */
export type AttackedServer = {
  readonly url: string
  readonly server: ServerProcess
  readonly database: FreshDatabase
  /** As `signIn` and its like ask for it. */
  readonly owner: FreshDatabase
  /** As the role that owns everything. */
  readonly sql: Sql
  /** One request exactly as given; its answer is watched. */
  request(path: string, options?: AttackRequest): Promise<AttackAnswer>
  /** Bytes as they are, on a connection of their own, read until the server closes it; watched as well. */
  raw(bytes: string | Buffer): Promise<RawConversation>
  /** Runs the attack, after which every table but the limits' own must be as it was, to the byte. */
  unchanged<Result>(attack: () => Promise<Result>): Promise<Result>
}

export type AttackRequest = {
  /** POST unless given. */
  readonly method?: string
  readonly headers?: Record<string, string | string[]>
  readonly body?: string | Buffer
  /** A body in JSON, with its content type. */
  readonly json?: unknown
  /** Hangs up on an answer that has not ended by then: for streams. */
  readonly leaveAfterMs?: number
}

export type AttackAnswer = RawAnswer & {
  /** The text as JSON; null where it is none. */
  readonly body: any
}

export type RawConversation = {
  readonly text: string
  /** Of every answer that came, in order. */
  readonly statuses: readonly number[]
  readonly isClosed: boolean
}

export type AttackRules = {
  /** The attack is a flood: then `503` with `Retry-After` is the right answer, too. */
  readonly mayShed?: boolean
}

/** An admin who is there from the beginning, with `testPassword`. */
export const adminEmail = 'admin@example.com'

/** How long a connection may take to be closed by the server. */
const maxOpenMs = 30_000

/** What of the inside must not be in an answer: a stack, a path, SQL or a library's name. */
const inside =
  /\n\s+at |\bat \S+ \(|node_modules|node:internal|\.(ts|js|mjs):\d+|file:\/\/|\/server\/|\b(select|insert|update)\b.{1,200}\b(from|into|set)\b|token_(ledger|audit)\.|postgres|drizzle|fastify|FST_ERR/i

/**
 * Starts the service once for this file. At the end of the file it must be the same process, still answering,
 * with a ledger that verifies; and no answer of all may have been a 5xx or have shown the inside.
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

  const watch = (what: string, status: number, text: string, retryAfter: unknown) => {
    answers += 1
    const isShed = rules.mayShed === true && status === 503 && retryAfter !== undefined
    if (status >= 500 && !isShed) bad.push(`${what}: ${status} ${text.slice(0, 300)}`)
    if (inside.test(text)) bad.push(`${what}: shows ${inside.exec(text)![0]}`)
  }

  beforeAll(async () => {
    database = await freshDatabase()
    // Where there is nobody the service makes an admin of its own, some time after it is ready.
    await makeUser(database.url, adminEmail, 'admin')
    server = await startServer(database.url, env)
    startedAt = await startOf(server)
  })

  afterAll(async () => {
    try {
      expect(bad, 'answers that are a 5xx or show the inside').toEqual([])
      expect(answers, 'answers that were watched').toBeGreaterThan(0)
      expect(process.kill(server.pid, 0)).toBe(true)
      expect(await startOf(server), 'the process of the beginning answers').toBe(startedAt)
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
        // As bytes: Node would send the headers in the encoding of a text behind them.
        ...(text !== undefined && { body: Buffer.from(text) }),
        ...(leaveAfterMs !== undefined && { leaveAfterMs }),
      })
      watch(`${method} ${path}`, answer.status, answer.text, answer.headers['retry-after'])
      // Of a stream: the last thing it says.
      const [, said] = /"reason":"(\w+)"/.exec(answer.text) ?? []
      return { ...answer, reason: answer.reason ?? said, body: parsed(answer.text) }
    },
    async raw(bytes) {
      const conversation = await converse(server.url, bytes)
      const { text, statuses } = conversation
      const retryAfter = /^retry-after:/im.exec(text) ?? undefined
      for (const status of statuses) watch(firstLine(bytes), status, text, retryAfter)
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

/** Of each table its rows, as one number; without those that only count. */
async function checksums(sql: Sql): Promise<Record<string, string>> {
  const tables = await sql<{ name: string }[]>`
    select relname as name
    from pg_class
    where relnamespace = 'token_ledger'::regnamespace
      and relkind in ('r', 'p') and not relispartition and relname <> 'rate_limit'
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

/** Which process answers, told by when it was started. */
async function startOf({ url }: ServerProcess): Promise<string> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return /^process_start_time_seconds .*$/m.exec(text)![0]
}

async function converse(url: string, bytes: string | Buffer): Promise<RawConversation> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  // A connection that is cut while we still send is an answer, too.
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
