import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { migrate } from '../../../db/migrate.ts'
import { beginSessions } from '../../support/begun-sessions.ts'
import { auth } from '../../support/http.ts'
import { startOwner } from '../../support/owner-process.ts'
import { cpuSecondsOf, postgresCpuSeconds, residentBytesOf } from '../../support/process-usage.ts'
import { startServer } from '../../support/server.ts'
import { makeUser } from '../../support/users.ts'
import type { Means } from './attacks.ts'
import type { Other } from './others-process.ts'

/** What the service and its Postgres have used and written. */
export type Usage = {
  readonly nodeSeconds: number
  readonly postgresSeconds: number
  readonly families: number
  readonly events: number
  readonly limits: number
  readonly walBytes: number
}

/** One service process with its limits, behind a proxy that it trusts, on a Postgres of its own. */
export type Stage = AsyncDisposable & {
  readonly url: string
  /** So far. */
  usage(): Promise<Usage>
  residentBytes(): number
  /** Other users, with a session and a network each. */
  others(count: number): Promise<Other[]>
  /** A new user with 91 sessions and a network; `knownEmail` is the account of another user. */
  attacker(knownEmail: string): Promise<Means>
}

const attackerSessions = 90

export async function setStage(): Promise<Stage> {
  const dataDir = mkdtempSync(join(tmpdir(), 'token-ledger-abuse-'))
  // Also for the user as whom Postgres runs when root starts it.
  chmodSync(dataDir, 0o711)
  const owner = startOwner(dataDir)
  const databaseUrl = await owner.url
  await migrate(databaseUrl)
  const server = await startServer(databaseUrl, {
    RATE_LIMITS: 'on',
    TRUSTED_PROXIES: '127.0.0.0/8',
  })
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  let attackers = 0
  return {
    url: server.url,
    async usage() {
      const [written] = await sql<Pick<Usage, 'families' | 'events' | 'limits' | 'walBytes'>[]>`
        select
          (select count(*)::int from token_ledger.token_family) as families,
          (select count(*)::int from token_ledger.token_event) as events,
          (select count(*)::int from token_ledger.rate_limit) as limits,
          pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 as "walBytes"`
      return {
        ...written!,
        nodeSeconds: cpuSecondsOf(server.pid),
        postgresSeconds: postgresCpuSeconds(dataDir),
      }
    },
    residentBytes: () => residentBytesOf(server.pid),
    async others(count) {
      const others: Other[] = []
      for (let i = 0; i < count; i++) {
        const user = await makeUser(databaseUrl)
        const [session] = await beginSessions(databaseUrl, user, 1)
        const { refreshToken } = session!
        others.push({ email: user.email, from: `198.18.${i}.1`, refreshToken })
      }
      return others
    },
    async attacker(knownEmail) {
      const user = await makeUser(databaseUrl)
      const [first, ...sessions] = await beginSessions(databaseUrl, user, attackerSessions + 1)
      const { data } = await auth(server.url, 'refresh', { refreshToken: first!.refreshToken })
      return {
        from: `198.19.${attackers++}.1`,
        email: user.email,
        accessToken: data.accessToken,
        refreshTokens: sessions.map(({ refreshToken }) => refreshToken),
        spentToken: first!.refreshToken,
        knownEmail,
      }
    },
    async [Symbol.asyncDispose]() {
      await sql.end({ timeout: 1 })
      await server[Symbol.asyncDispose]()
      await owner.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}
