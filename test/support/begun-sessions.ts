import type { Sql } from 'postgres'
import { connect } from '../../db/connection/connect.ts'
import { toLedgerEvent, type LedgerEventRow } from '../../db/ledger/event-rows.ts'
import { createAccounts } from '../../server/users/accounts.ts'
import type { LedgerEvent } from '../../server/ledger/events.ts'
import { createPasswords } from '../../server/users/passwords.ts'
import { deriveRefreshTokenKeys } from '../../server/tokens/refresh-token.ts'
import { startSession } from '../../server/sessions/sign-in.ts'
import type { User } from '../../server/users/directory.ts'
import { testSecret } from './server.ts'

const hourMs = 3600 * 1000

export type BegunSession = { readonly familyId: string; readonly refreshToken: string }

/** Begins sessions of the user as a sign-in does, without the slow check of the password. */
export async function beginSessions(
  databaseUrl: string,
  user: User,
  count: number,
): Promise<BegunSession[]> {
  const database = connect(databaseUrl, { role: 'token_ledger_app' })
  const { transactions: sql } = database
  const policy = {
    idleMs: hourMs,
    absoluteMs: 24 * hourMs,
    graceMs: 0,
    reuseScope: 'family',
    replaysElsewhere: 'warn',
    maxSessionsPerUser: 10_000,
  } as const
  const refreshKeys = deriveRefreshTokenKeys([testSecret])
  const users = createAccounts(database, createPasswords())
  const deps = { sql, users, refreshKeys, policy, logSecurityEvent: () => {} }
  const signIn = {
    user,
    epoch: 0,
    transport: 'body',
    deviceName: null,
    caller: { ip: null, userAgent: null },
    methods: ['pwd'],
  } as const
  try {
    const begun: BegunSession[] = []
    for (let i = 0; i < count; i++) {
      const { familyId, token } = await startSession(deps, signIn)
      begun.push({ familyId, refreshToken: token.value })
    }
    return begun
  } finally {
    await database.close()
  }
}

/** All events of a family, oldest first. */
export async function readHistory(ownerSql: Sql, familyId: string): Promise<LedgerEvent[]> {
  const rows = await ownerSql<LedgerEventRow[]>`
    select
      family_id, seq, kind, generation, user_id, transport, token_hash, salt, attempt_hash, reason,
      presented_generation, actor_user_id, array_to_string(methods, ' ') as methods,
      (extract(epoch from occurred_at) * 1000)::float8 as occurred_at,
      (extract(epoch from expires_at) * 1000)::float8 as expires_at,
      (extract(epoch from absolute_expires_at) * 1000)::float8 as absolute_expires_at,
      (extract(epoch from authenticated_at) * 1000)::float8 as authenticated_at
    from token_ledger.token_event
    where family_id = ${familyId}
    order by seq`
  return rows.map(toLedgerEvent)
}
