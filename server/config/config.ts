import { z } from 'zod'
import { maxAccessTokenSeconds } from '../verifier/access-token-life.ts'
import { ConfigError } from './config-error.ts'
import { withLibpqVariables } from './libpq-variables.ts'
import { exposedAdvice, isInProduction, productionProblems } from './production.ts'
import {
  audience,
  audienceList,
  bracketed,
  cidrList,
  day,
  flag,
  isHost,
  isPath,
  origin,
  originList,
  postgresUrl,
  seconds,
  secret,
  secretAdvice,
  webAddress,
  wholeNumber,
  witnessKey,
} from './values.ts'

export { ConfigError }

/** Everything an operator can set. main.ts reads it once from the environment and passes it on. */
export type Config = Readonly<z.output<typeof Environment>>

type Variables = z.output<typeof Variables>

const Variables = z.object({
  NODE_ENV: z.string().prefault('development'),
  PUBLIC_DEVELOPMENT: flag('allow').optional(),
  DATABASE_URL: postgresUrl.optional(),
  MIGRATION_DATABASE_URL: postgresUrl.optional(),
  DATABASE_WITHOUT_TLS: flag('allow').optional(),
  SUPERUSER_DATABASE_LOGIN: flag('allow').optional(),
  EMBEDDED_POSTGRES: flag('allow').optional(),
  DATA_DIR: z
    .string()
    .refine(isPath, 'must be a path with forward slashes, such as /var/lib/token-ledger')
    .prefault('.data'),
  HOST: z
    .string()
    .refine(isHost, 'must be a host name or an IP address, such as 127.0.0.1')
    .prefault('127.0.0.1'),
  PORT: wholeNumber(1, 65_535, 3000).prefault('3000'),
  PUBLIC_URL: origin.optional(),
  AUTH_SECRET: secret.optional(),
  AUTH_SECRET_PREVIOUS: secret.optional(),
  ALLOWED_ORIGINS: originList.optional(),
  ACCESS_TOKEN_AUDIENCE: audience.optional(),
  ACCESS_TOKEN_AUDIENCES: audienceList.default([]),
  ACCESS_TOKEN_SECONDS: seconds(1, maxAccessTokenSeconds, maxAccessTokenSeconds).prefault(
    String(maxAccessTokenSeconds),
  ),
  REFRESH_IDLE_SECONDS: seconds(1, 365 * day, 7 * day).optional(),
  REFRESH_ABSOLUTE_SECONDS: seconds(1, 365 * day, 30 * day).prefault(String(30 * day)),
  ROTATION_GRACE_SECONDS: seconds(0, 60, 10).prefault('10'),
  MAX_AUTH_AGE_SECONDS: seconds(60, 365 * day, 600).prefault('600'),
  REUSE_SCOPE: flag('family', 'user').prefault('family'),
  COOKIE_PREFIX: flag('secure', 'host').prefault('secure'),
  REPLAYS_ELSEWHERE: flag('warn', 'end').prefault('warn'),
  REGISTRATION: flag('open', 'closed').optional(),
  PASSWORD_MIN_LENGTH: wholeNumber(8, 128, 15).prefault('15'),
  TRUSTED_PROXIES: cidrList.default([]),
  RATE_LIMITS: flag('on', 'off').prefault('on'),
  CONSOLE: flag('on', 'off').prefault('on'),
  MAX_SESSIONS_PER_USER: wholeNumber(1, 10_000, 100).prefault('100'),
  METRICS_TOKEN: z
    .string()
    .min(16, 'must have at least 16 characters; make one with: openssl rand -hex 24')
    .optional(),
  METRICS_PORT: wholeNumber(1, 65_535, 9464).optional(),
  REVOCATIONS_TOKEN: z
    .string()
    .min(16, 'must have at least 16 characters; make one with: openssl rand -hex 24')
    .optional(),
  LEDGER_TOKEN: z
    .string()
    .min(16, 'must have at least 16 characters; make one with: openssl rand -hex 24')
    .optional(),
  SIGN_IN_TOKEN: z
    .string()
    .min(16, 'must have at least 16 characters; make one with: openssl rand -hex 24')
    .optional(),
  LEDGER_PUBLIC: flag('allow').optional(),
  LAST_CHECKPOINT: z.string().optional(),
  WITNESS_URL: webAddress.optional(),
  WITNESS_KEY: witnessKey.optional(),
  LOG_LEVEL: flag('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent').prefault('info'),
  // Only the OpenTelemetry variables that turn tracing on or off; its SDK reads the others itself.
  OTEL_EXPORTER_OTLP_ENDPOINT: z.string().optional(),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: z.string().optional(),
  OTEL_TRACES_EXPORTER: z.string().optional(),
  OTEL_SDK_DISABLED: z.string().optional(),
})

const Environment = Variables.transform((env, ctx) => {
  const publicUrl = publicUrlOf(env)
  const { protocol } = new URL(publicUrl)
  const accessTokenAudience = env.ACCESS_TOKEN_AUDIENCE ?? publicUrl
  const isProduction = isInProduction(env, publicUrl)
  const advice = env.NODE_ENV === 'production' ? '' : exposedAdvice
  const problems = [
    ...(isProduction ? productionProblems(env, publicUrl) : []).map(
      ([variable, message]): Problem => [variable, message + advice],
    ),
    ...migrationProblems(env),
    ...lifetimeProblems(env),
    ...portProblems(env),
    ...cookieProblems(env, protocol),
    ...audienceProblems(env, accessTokenAudience),
    ...witnessProblems(env),
  ]
  for (const [variable, message] of problems)
    ctx.addIssue({ code: 'custom', path: [variable], message })
  return {
    isProduction,
    databaseUrl: env.DATABASE_URL,
    migrationDatabaseUrl: env.MIGRATION_DATABASE_URL ?? env.DATABASE_URL,
    superuserDatabaseLogin: env.SUPERUSER_DATABASE_LOGIN,
    dataDir: env.DATA_DIR,
    host: env.HOST,
    port: env.PORT,
    publicUrl,
    openUrl: openUrlOf(env, publicUrl),
    isSecure: protocol === 'https:',
    cookiePrefix: env.COOKIE_PREFIX,
    authSecret: env.AUTH_SECRET,
    authSecretPrevious: env.AUTH_SECRET_PREVIOUS,
    allowedOrigins: env.ALLOWED_ORIGINS ?? [publicUrl],
    accessTokenAudience,
    accessTokenAudiences: env.ACCESS_TOKEN_AUDIENCES,
    accessTokenMs: env.ACCESS_TOKEN_SECONDS,
    refreshIdleMs: refreshIdleMsOf(env),
    refreshAbsoluteMs: env.REFRESH_ABSOLUTE_SECONDS,
    rotationGraceMs: env.ROTATION_GRACE_SECONDS,
    maxAuthAgeMs: env.MAX_AUTH_AGE_SECONDS,
    reuseScope: env.REUSE_SCOPE,
    replaysElsewhere: env.REPLAYS_ELSEWHERE,
    registration: env.REGISTRATION ?? (isProduction ? 'closed' : 'open'),
    passwordMinLength: env.PASSWORD_MIN_LENGTH,
    trustedProxies: env.TRUSTED_PROXIES,
    rateLimits: env.RATE_LIMITS,
    hasConsole: env.CONSOLE === 'on',
    maxSessionsPerUser: env.MAX_SESSIONS_PER_USER,
    metricsToken: env.METRICS_TOKEN,
    metricsPort: env.METRICS_PORT,
    revocationsToken: env.REVOCATIONS_TOKEN,
    ledgerToken: env.LEDGER_TOKEN,
    signInToken: env.SIGN_IN_TOKEN,
    isLedgerPublic: env.LEDGER_PUBLIC === 'allow',
    lastCheckpoint: env.LAST_CHECKPOINT,
    witness: witnessOf(env),
    logLevel: env.LOG_LEVEL,
    isTraced: isTraced(env),
  }
})

/** A variable, and what is wrong with it. */
type Problem = readonly [variable: keyof Variables, message: string]

function audienceProblems(env: Variables, ownAudience: string): Problem[] {
  if (!env.ACCESS_TOKEN_AUDIENCES.includes(ownAudience)) return []
  return [
    [
      'ACCESS_TOKEN_AUDIENCES',
      'may not contain the audience of this service itself; list the other services, such as https://orders.example.com',
    ],
  ]
}

function witnessProblems({ WITNESS_URL, WITNESS_KEY }: Variables): Problem[] {
  if ((WITNESS_URL === undefined) === (WITNESS_KEY === undefined)) return []
  return WITNESS_KEY === undefined
    ? [['WITNESS_KEY', 'is required with WITNESS_URL: the verifier key of the witness']]
    : [['WITNESS_URL', 'is required with WITNESS_KEY, such as https://witness.example.com']]
}

function witnessOf({ WITNESS_URL, WITNESS_KEY }: Variables) {
  return WITNESS_URL === undefined || WITNESS_KEY === undefined
    ? undefined
    : { url: WITNESS_URL, key: WITNESS_KEY }
}

function migrationProblems(env: Variables): Problem[] {
  if (env.MIGRATION_DATABASE_URL === undefined || env.DATABASE_URL !== undefined) return []
  const message =
    'is required with MIGRATION_DATABASE_URL, such as postgres://token_ledger_service:password@host:5432/database'
  return [['DATABASE_URL', message]]
}

function lifetimeProblems(env: Variables): Problem[] {
  const absoluteMs = env.REFRESH_ABSOLUTE_SECONDS
  if (refreshIdleMsOf(env) <= absoluteMs) return []
  const message = `may not exceed REFRESH_ABSOLUTE_SECONDS, such as ${absoluteMs / 1000}`
  return [['REFRESH_IDLE_SECONDS', message]]
}

function cookieProblems({ COOKIE_PREFIX }: Variables, protocol: string): Problem[] {
  if (COOKIE_PREFIX === 'secure' || protocol === 'https:') return []
  return [['COOKIE_PREFIX', 'may only be host where PUBLIC_URL is https; set it to: secure']]
}

function portProblems({ PORT, METRICS_PORT }: Variables): Problem[] {
  return METRICS_PORT === PORT
    ? [['METRICS_PORT', 'may not be PORT; use another, such as 9464']]
    : []
}

/** If only REFRESH_ABSOLUTE_SECONDS is set, it caps the default idle timeout. */
function refreshIdleMsOf(env: Variables): number {
  return env.REFRESH_IDLE_SECONDS ?? Math.min(7 * day * 1000, env.REFRESH_ABSOLUTE_SECONDS)
}

/** Spelled as browsers spell an origin: without the default port of its scheme. */
function publicUrlOf(env: Variables): string {
  return env.PUBLIC_URL ?? new URL(`http://${bracketed(env.HOST)}:${env.PORT}`).origin
}

/**
 * What the start prints. Without PUBLIC_URL it is `localhost`, as dev servers print it: for a browser, `localhost` and
 * `127.0.0.1` are two sites, and a page of one keeps no cookie of the other.
 */
function openUrlOf({ PUBLIC_URL, HOST }: Variables, publicUrl: string): string {
  return PUBLIC_URL === undefined && HOST === '127.0.0.1'
    ? publicUrl.replace('127.0.0.1', 'localhost')
    : publicUrl
}

/** As OpenTelemetry's SDK reads these variables: the exporter wins over the endpoints. */
function isTraced(env: Variables): boolean {
  const exporterOrEndpoint =
    env.OTEL_TRACES_EXPORTER ??
    env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ??
    env.OTEL_EXPORTER_OTLP_ENDPOINT ??
    'none'
  return exporterOrEndpoint !== 'none' && env.OTEL_SDK_DISABLED?.toLowerCase() !== 'true'
}

/**
 * Reads the configuration. An empty variable counts as unset.
 *
 * @throws {ConfigError} that names the first bad variable and never repeats its value
 */
export function loadConfig(env: Record<string, string | undefined>): Config {
  const config = loadConfigWithoutSecret(env)
  if (config.isProduction && config.authSecret === undefined)
    throw new ConfigError(
      `AUTH_SECRET: ${secretAdvice('is required in production')}${env.NODE_ENV === 'production' ? '' : exposedAdvice}`,
    )
  return config
}

const isConnectionString = (name: string) =>
  name === 'DATABASE_URL' || name === 'MIGRATION_DATABASE_URL'

/** Like `loadConfig`, for commands that use no secret: AUTH_SECRET may be missing in production. */
export function loadConfigWithoutSecret(env: Record<string, string | undefined>): Config {
  const set = Object.entries(env).flatMap(([name, value]) => {
    if (value === undefined || value === '') return []
    return [[name, isConnectionString(name) ? withLibpqVariables(value, env) : value]]
  })
  const result = Environment.safeParse(Object.fromEntries(set))
  if (result.success) return Object.freeze(result.data)
  const [issue] = result.error.issues
  throw new ConfigError(`${String(issue?.path[0] ?? 'environment')}: ${issue?.message}`)
}
