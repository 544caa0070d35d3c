import { afterAll, beforeAll, expect } from 'vitest'
import { command, serve, startCluster, type Cluster } from '../support/cluster.ts'
import { longTest, runsLong } from '../support/long.ts'
import { auth, mutate, query } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

let cluster: Cluster

beforeAll(async () => {
  if (runsLong) cluster = await startCluster()
}, 60_000)

afterAll(() => cluster?.[Symbol.asyncDispose]())

const levels = ['read committed', 'repeatable read', 'serializable'] as const
const publicUrl = 'http://127.0.0.1:4000'

/** A database whose sessions have this isolation unless they say otherwise, and two processes of the service. */
async function startTwo(level: string, env: Record<string, string> = {}) {
  const name = `two_${level.replace(' ', '_')}_${Object.keys(env).length}`
  await cluster.exec(`create database ${name}`)
  await cluster.exec(`alter database ${name} set default_transaction_isolation = '${level}'`)
  const url = cluster.url(name)
  const one = await serve(url, { PUBLIC_URL: publicUrl, ...env })
  const other = await serve(url, { PUBLIC_URL: publicUrl, ...env })
  const sql = cluster.sql(name)
  return {
    url,
    one,
    other,
    /** Holds the user's lock until all of `calls` wait for it, one after the other. */
    async inTurn<T>(userId: string, calls: readonly (() => Promise<T>)[]): Promise<T[]> {
      const started: Promise<T>[] = []
      await sql.begin('isolation level read committed', async (tx) => {
        await tx`select from token_ledger.user_epoch where user_id = ${userId} for update`
        for (const call of calls) {
          started.push(call())
          await waitFor(async () => {
            const waiting = await sql`
              select from pg_stat_activity
              where datname = current_database() and wait_event_type = 'Lock'`
            return waiting.length >= started.length
          })
        }
      })
      return Promise.all(started)
    },
    sql,
    async [Symbol.asyncDispose]() {
      await one[Symbol.asyncDispose]()
      await other[Symbol.asyncDispose]()
    },
  }
}

const login = (url: string, email: string) =>
  auth(url, 'login', { email, password: testPassword, transport: 'body' })

longTest.each(levels)(
  'no session that began before "end everything" was answered goes on, by default %s',
  async (level) => {
    await using two = await startTwo(level)
    const { email, id } = await makeUser(two.url)
    const admin = await makeUser(two.url, undefined, 'admin')
    // The first sign-in makes the row that the others lock.
    await login(two.one.url, email)
    const { accessToken } = await signIn({ url: two.one.url, owner: { url: two.url } }, admin.email)
    const [signedIn, ended] = await two.inTurn(id, [
      () => login(two.one.url, email),
      () =>
        mutate(two.other.url, 'admin.users.revokeSessions', accessToken, {
          userId: id,
          reason: 'stolen laptop',
        }),
    ])
    expect([signedIn!.status, ended!.status]).toEqual([200, 200])
    const { refreshToken } = signedIn!.data
    expect((await auth(two.other.url, 'refresh', { refreshToken })).reason).toBe('session_revoked')
  },
)

longTest.each(levels)(
  'two sign-ins at once keep the session limit, by default %s',
  async (level) => {
    await using two = await startTwo(level, { MAX_SESSIONS_PER_USER: '2' })
    const { email, id } = await makeUser(two.url)
    const { data } = await login(two.one.url, email)
    const answers = await two.inTurn(id, [
      () => login(two.one.url, email),
      () => login(two.other.url, email),
    ])
    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    const active = await two.sql`select from token_audit.sessions where status = 'active'`
    expect(active).toHaveLength(2)
    expect((await query(two.one.url, 'sessions.list', data.accessToken)).status).toBe(401)
  },
)

longTest(
  'many sign-ins and sign-outs of one user at once are never 500, by default serializable',
  async () => {
    await using two = await startTwo('serializable', { A: '', B: '' })
    const { email } = await makeUser(two.url)
    const urls = [two.one.url, two.other.url]
    const statuses = new Set<number>()
    for (let round = 0; round < 2; round++) {
      const signedIn = await Promise.all(
        Array.from({ length: 20 }, (_, at) => login(urls[at % 2]!, email)),
      )
      const tokens = signedIn.flatMap(({ data }) => (data ? [data.refreshToken as string] : []))
      const answers = await Promise.all(
        tokens.flatMap((refreshToken, at) => [
          auth(urls[at % 2]!, 'refresh', { refreshToken }),
          ...(at < 6 ? [auth(urls[at % 2]!, 'logout', { refreshToken })] : []),
        ]),
      )
      for (const { status } of [...signedIn, ...answers]) statuses.add(status)
    }
    // A session that was signed out meanwhile is 401.
    expect([...statuses].filter((status) => ![200, 401, 503].includes(status))).toEqual([])
    expect((await command(two.url, ['ledger', 'verify'])).code).toBe(0)
  },
)
