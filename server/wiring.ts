import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import {
  listOwnSessions,
  listSessionsOfUsers,
  type PageOfUser,
} from '../db/audit/pages-of-users.ts'
import { readStandings } from '../db/audit/standing.ts'
import type { Database } from '../db/connection/connect.ts'
import { askTogether } from '../db/connection/together.ts'
import { transactionsOf } from '../db/connection/transaction.ts'
import { watchForRestoredCopy } from './audit/restored-copy.ts'
import { assertEncoding } from '../db/encoding.ts'
import { readPublicRights } from '../db/login-rights.ts'
import { createLongReads } from './audit/long-reads.ts'
import { createTails, maxTailsPerUser } from './audit/tail.ts'
import { keepEventHours, keepTables } from './audit/upkeep.ts'
import { secretsOf } from './config/auth-secret.ts'
import type { Config } from './config/config.ts'
import { readLastCheckpoint } from './config/last-checkpoint.ts'
import type { LastSeenStore } from './config/last-seen.ts'
import { checkDatabaseLogin } from './config/database-login.ts'
import { keepCheckpoints } from './evidence/keep-checkpoints.ts'
import { logOriginOf } from './evidence/sign-checkpoints.ts'
import { startSequencer } from './evidence/sequencer.ts'
import { createWitness } from './evidence/witness.ts'
import { createCallLimits, noCallLimits } from './limits/call-limits.ts'
import { createCounters } from './limits/counters.ts'
import { createLimits, noLimits } from './limits/limits.ts'
import { createSignInAttempts } from './limits/sign-in-attempts.ts'
import { removeStaleCounts } from './limits/stale-counts.ts'
import { createAccountHash } from './observability/account-hash.ts'
import { watchHostClock } from './observability/host-clock.ts'
import { createMetrics } from './observability/metrics.ts'
import { createSecurityLog, describeError } from './observability/security-log.ts'
import type { ServiceDeps } from './procedures/deps.ts'
import { createTurns } from './procedures/turns.ts'
import { followEndedSessions, type EndedSessions } from './sessions/ended-sessions.ts'
import { createRotation, type Rotate } from './sessions/rotation.ts'
import { createSignOut } from './sessions/sign-out.ts'
import { createAccessTokens } from './tokens/access-token.ts'
import { deriveRefreshTokenKeys } from './tokens/refresh-token.ts'
import { loadLogKeys } from './tokens/log-keys.ts'
import { loadSigningKeys } from './tokens/signing-keys.ts'
import { createAccounts } from './users/accounts.ts'
import type { FindBreachedPasswords } from './users/breached-passwords.ts'
import type { UserDirectory } from './users/directory.ts'
import { canonicalEmail } from './users/email.ts'
import { createPasswords } from './users/passwords.ts'
import { createSubjects, rememberingMisses } from './users/subjects.ts'
import { createTeamDirectory } from './users/team-directory.ts'
import { verifierOf } from './verifier/verifier.ts'
import { version } from './version.ts'

export type AppOptions = {
  /** From `loadConfig`. `authSecret` must be set. */
  readonly config: Config
  /** From `connect`, and migrated. The caller closes it, after the app. */
  readonly database: Database
  /** Where users come from. Default: the table `user_account`. */
  readonly users?: UserDirectory
  /** Asked for each new password that a caller chose. Default: no list of leaked passwords is asked. */
  readonly findBreachedPasswords?: FindBreachedPasswords
  /** The most rotations in one transaction. Default: 64. Use 1 with a sharded database. */
  readonly rotationBatchSize?: number
  /** The folder of the built console. Default: beside the files of the server. */
  readonly consoleFolder?: string
  /** How often the signing keys are read again. Default: 5,000. */
  readonly signingKeyReloadMs?: number
  /** Where this process keeps what it remembers of the database. Default: it remembers while it runs. */
  readonly lastSeen?: LastSeenStore
  /** Replaces the rotation, with its metrics, so that a benchmark can measure everything around it. */
  readonly rotate?: Rotate
}

const inMemory: LastSeenStore = { read: async () => null, write: async () => {} }

/** Puts the parts of the service together. Closing `app` stops those that run by themselves. */
export async function makeDeps(app: FastifyInstance, options: AppOptions): Promise<ServiceDeps> {
  const { config, database } = options
  if (config.authSecret === undefined) throw new Error('AUTH_SECRET is not set')
  const secrets = secretsOf(config.authSecret, config.authSecretPrevious)

  await assertEncoding(database.statements)
  const databaseLogin = await checkDatabaseLogin(config, database)
  if (databaseLogin.warning !== null)
    app.log.warn(databaseLogin, 'the database login has more rights than the service needs')
  for (const right of await readPublicRights(database))
    app.log.warn({ right }, 'PUBLIC has a right that every login of the cluster gets from it')
  const signingKeys = await loadSigningKeys(database, secrets, {
    ...(options.signingKeyReloadMs !== undefined && { reloadEveryMs: options.signingKeyReloadMs }),
    reports: {
      skipped: (key) => app.log.warn(key, 'a signing key is not used'),
      outdated: (error) =>
        app.log.warn(describeError(error), 'the signing keys cannot be kept up to date'),
    },
  })
  app.addHook('onClose', async () => signingKeys.close())
  const isHostClockOff = watchHostClock(app, () => signingKeys.now(), options.signingKeyReloadMs)
  await keepTables(app, database)
  keepEventHours(app, database)
  const processId = randomUUID()
  const startedAt = Date.now()
  let followed: EndedSessions | undefined
  await watchForRestoredCopy(app, database, {
    markId: processId,
    state: () => ({ version, startedAt, lagMs: Math.round(followed?.lagMs() ?? 0) }),
    memory: options.lastSeen ?? inMemory,
  })
  const sequencer = startSequencer(database.questions, app.log)
  app.addHook('onClose', () => sequencer.close())
  const { privateKeys, lockedKids } = await loadLogKeys(database, secrets)
  if (lockedKids.length > 0) app.log.warn({ kids: lockedKids }, 'a key of the log does not sign')
  const checkpoints = keepCheckpoints(app, database.questions, {
    origin: logOriginOf(config.publicUrl),
    privateKeys,
    shown: readLastCheckpoint(config.lastCheckpoint),
    witness: config.witness ? createWitness(config.witness) : null,
  })
  const passwords = createPasswords()
  const tails = createTails(maxTailsPerUser)
  const checks = createTails(1)
  const metrics = createMetrics({
    queueDepth: () => rotation.queue.depth,
    passwordHashes: () => passwords.load(),
    transactions: () => transactionsOf(database.transactions),
    openTails: () => tails.open(),
    revocationLagMs: () => endedSessions.lagMs(),
    endedSessions: () => endedSessions.size,
    signingKeys: () => signingKeys.counts(),
    signingKeysAgeMs: () => signingKeys.ageMs(),
    accessTokenCache: () => verifier.cacheStats(),
    logAppended: () => sequencer.appended(),
    checkpointLeaves: () => checkpoints.size(),
    checkpointRefused: () => (checkpoints.refusal() === null ? 0 : 1),
  })
  const subjects = createSubjects(database)
  const { logSecurityEvent, reportError } = createSecurityLog(app.log, {
    count: metrics.countSecurityEvent,
    subjects: rememberingMisses(subjects),
  })
  const sessionDeps = {
    sql: database.transactions,
    users: options.users
      ? createTeamDirectory(options.users, subjects)
      : createAccounts(database, passwords),
    refreshKeys: deriveRefreshTokenKeys(secrets),
    policy: {
      idleMs: config.refreshIdleMs,
      absoluteMs: config.refreshAbsoluteMs,
      graceMs: config.rotationGraceMs,
      reuseScope: config.reuseScope,
      replaysElsewhere: config.replaysElsewhere,
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
    now: () => signingKeys.now(),
  })
  const isLimited = config.rateLimits === 'on'
  const counters = createCounters(database)
  const limits = isLimited
    ? createLimits(database, {
        counters,
        lifetimes: config,
        passwordQueue: passwords,
        log: logSecurityEvent,
      })
    : noLimits
  const callLimits = isLimited ? createCallLimits(counters) : noCallLimits
  removeStaleCounts(app, database)
  // In `preClose`, because Fastify then waits for connections, and an open tail keeps its own open.
  app.addHook('preClose', async () => {
    tails.close()
    checks.close()
  })
  const endedSessions = followEndedSessions(database, {
    log: app.log,
    now: () => signingKeys.now(),
  })
  followed = endedSessions
  // Closing it ends the streams of /revocations.
  app.addHook('preClose', () => endedSessions.close())
  const accountHash = createAccountHash(config.authSecret)
  return {
    ...sessionDeps,
    processId,
    config,
    database,
    warnings: () => [
      ...(databaseLogin.warning === null ? [] : [databaseLogin.warning]),
      ...(isHostClockOff() ? ['host_clock_differs'] : []),
      ...(checkpoints.refusal() === null ? [] : ['checkpoint_refused']),
      ...(lockedKids.length === 0 ? [] : ['log_key_locked']),
    ],
    signingKeys,
    checkpoints,
    accessTokens,
    rotate: options.rotate ?? rotation.rotate,
    signOut: createSignOut(sessionDeps),
    verifier,
    limits,
    signInAttempts: createSignInAttempts(counters),
    // A directory of the embedder may spell an address in another way than the person who signs in.
    accountHash: (email) => accountHash(canonicalEmail(email) ?? email),
    findBreachedPasswords: options.findBreachedPasswords,
    callLimits,
    standingOf: askTogether((ids: readonly string[]) =>
      readStandings(database.calls.statements, ids),
    ),
    ownSessionsOf: askTogether((asked: readonly PageOfUser[]) =>
      listOwnSessions(database.calls, asked),
    ),
    sessionsOf: askTogether((asked: readonly PageOfUser[]) =>
      listSessionsOfUsers(database.questions, asked),
    ),
    turns: createTurns(),
    metrics,
    tails,
    checks,
    longReads: createLongReads(),
    endedSessions,
    reportError,
  }
}
