import type { Database } from '../../db/connection/connect.ts'
import type { SessionDeps, SessionPolicy } from '../../server/sessions/session.ts'
import { deriveRefreshTokenKeys } from '../../server/tokens/refresh-token.ts'
import { createAccounts } from '../../server/users/accounts.ts'
import { createPasswords } from '../../server/users/passwords.ts'
import { testSecret } from './server.ts'

/** What the functions of `server/sessions` need, on this database. */
export function sessionDeps(database: Database, policy: Partial<SessionPolicy> = {}) {
  return {
    sql: database.transactions,
    users: createAccounts(database, createPasswords()),
    refreshKeys: deriveRefreshTokenKeys([testSecret]),
    policy: {
      idleMs: 7 * 24 * 3_600_000,
      absoluteMs: 30 * 24 * 3_600_000,
      graceMs: 10_000,
      reuseScope: 'family' as const,
      replaysElsewhere: 'warn' as const,
      maxSessionsPerUser: 100,
      ...policy,
    },
    logSecurityEvent: () => {},
  } satisfies SessionDeps
}

export const testCaller = { ip: '192.0.2.7', userAgent: 'test browser' }

/** What a user's first sign-in has, apart from the user. */
export const testSignIn = {
  epoch: 0,
  transport: 'body' as const,
  deviceName: 'laptop',
  caller: testCaller,
  methods: ['pwd'] as const,
}
