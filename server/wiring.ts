import type { FastifyInstance } from 'fastify'
import type { Database } from '../db/connection/connect.ts'
import { transactionsOf } from '../db/connection/transaction.ts'
import { keepPartitionsAhead } from './audit/partitions.ts'
import { createTails } from './audit/tail.ts'
import type { Config } from './config/config.ts'
import { createLimits, noLimits } from './limits/limits.ts'
import { createAccountHash } from './observability/account-hash.ts'
import { createMetrics } from './observability/metrics.ts'
import { createSecurityLog } from './observability/security-log.ts'
import type { ServiceDeps } from './procedures/deps.ts'
import { followEndedSessions } from './sessions/ended-sessions.ts'
import { createRotation, type Rotate } from './sessions/rotation.ts'
import { createAccessTokens } from './tokens/access-token.ts'
import { deriveRefreshTokenKeys } from './tokens/refresh-token.ts'
import { loadSigningKeys } from './tokens/signing-keys.ts'
import { createAccounts } from './users/accounts.ts'
import type { UserDirectory } from './users/directory.ts'
import { createPasswords } from './users/passwords.ts'
import { verifierOf } from './verifier/verifier.ts'

export type AppOptions = {
  /** From `loadConfig`. `authSecret` must be set. */
  readonly config: Config
  /** From `connect`, and migrated. The caller closes it, after the app. */
  readonly database: Database
  /** Where users come from. Default: the table `user_account`. */
  readonly users?: UserDirectory
  /** The most rotations in one transaction. Default: 64. Use 1 with a sharded database. */
  readonly rotationBatchSize?: number
  /** The folder of the built example page. Default: beside the files of the server. */
  readonly exampleFolder?: string
  /** How often the signing keys are read again. Default: 5,000. */
  readonly signingKeyReloadMs?: number
  /** Replaces the rotation, with its metrics, so that a benchmark can measure everything around it. */
  readonly rotate?: Rotate
}

/** Puts the parts of the service together. Closing `app` stops those that run by themselves. */
export async function makeDeps(app: FastifyInstance, options: AppOptions): Promise<ServiceDeps> {
  const { config, database } = options
  if (config.authSecret === undefined) throw new Error('AUTH_SECRET is not set')
  const secrets: [string, ...string[]] = [config.authSecret]
  if (config.authSecretPrevious !== undefined) secrets.push(config.authSecretPrevious)

  const signingKeys = await loadSigningKeys(database, secrets, {
    ...(options.signingKeyReloadMs !== undefined && { reloadEveryMs: options.signingKeyReloadMs }),
  })
  app.addHook('onClose', async () => signingKeys.close())
  await keepPartitionsAhead(app, database)
  const passwords = createPasswords()
  const tails = createTails()
  const metrics = createMetrics({
    queueDepth: () => rotation.queue.depth,
    passwordHashes: () => passwords.load(),
    transactions: () => transactionsOf(database.transactions),
    openTails: () => tails.open(),
    revocationLagMs: () => endedSessions.lagMs(),
  })
  const { logSecurityEvent, reportError } = createSecurityLog(app.log, metrics.countSecurityEvent)
  const sessionDeps = {
    sql: database.transactions,
    users: options.users ?? createAccounts(database, passwords),
    refreshKeys: deriveRefreshTokenKeys(secrets),
    policy: {
      idleMs: config.refreshIdleMs,
      absoluteMs: config.refreshAbsoluteMs,
      graceMs: config.rotationGraceMs,
      reuseScope: config.reuseScope,
      maxSessionsPerUser: config.maxSessionsPerUser,
      ...(options.rotationBatchSize !== undefined && {
        rotationBatchSize: options.rotationBatchSize,
      }),
    },
    logSecurityEvent,
  }
  const accessTokens = createAccessTokens(signingKeys, {
    issuer: config.publicUrl,
    audience: config.accessTokenAudience,
    lifetimeMs: config.accessTokenMs,
  })
  const rotation = createRotation(sessionDeps, { accessTokens, observer: metrics.refreshObserver })
  const verifier = verifierOf(signingKeys.keySource, {
    issuer: config.publicUrl,
    audience: config.accessTokenAudience,
  })
  const limits =
    config.rateLimits === 'on'
      ? createLimits(database, { lifetimes: config, log: logSecurityEvent })
      : noLimits
  app.addHook('onClose', async () => limits.close())
  // In `preClose`, because Fastify then waits for connections, and an open tail keeps its own open.
  app.addHook('preClose', async () => tails.close())
  const endedSessions = followEndedSessions(database, { log: app.log })
  // Closing it ends the streams of /revocations.
  app.addHook('preClose', () => endedSessions.close())
  return {
    ...sessionDeps,
    config,
    database,
    signingKeys,
    accessTokens,
    rotate: options.rotate ?? rotation.rotate,
    verifier,
    limits,
    accountHash: createAccountHash(config.authSecret),
    metrics,
    tails,
    endedSessions,
    reportError,
  }
}
