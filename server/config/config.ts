import { z } from 'zod'
import { maxAccessTokenSeconds } from '../verifier/access-token-life.ts'
import { ConfigError } from './config-error.ts'
import {
  bracketed,
  cidrList,
  day,
  flag,
  isDecodable,
  isHost,
  isLoopback,
  isPath,
  origin,
  originList,
  seconds,
  secret,
  secretAdvice,
  wholeNumber,
} from './values.ts'

export { ConfigError }

/** Everything an operator can set. Read once, in main.ts; everyone else is handed a Config. */
export type Config = Readonly<z.output<typeof Environment>>

const Environment = z
  .object({
    NODE_ENV: z.string().prefault('development'),
    DATABASE_URL: z
      .url({
        protocol: /^postgres(ql)?$/,
        error: 'must be a Postgres URL, such as postgres://user:password@host:5432/database',
      })
      .refine(
        isDecodable,
        'has a % that stands for itself; write it as %25, such as postgres://user:pass%25word@host:5432/database',
      )
      .optional(),
    EMBEDDED_POSTGRES: flag('allow').optional(),
    DATA_DIR: z
      .string()
      .refine(isPath, 'must be a path with slashes, such as /var/lib/token-ledger')
      .prefault('.data'),
    HOST: z
      .string()
      .refine(isHost, 'must be a host or an address, such as 127.0.0.1')
      .prefault('127.0.0.1'),
    PORT: wholeNumber(1, 65_535, 3000).prefault('3000'),
    PUBLIC_URL: origin.optional(),
    AUTH_SECRET: secret.optional(),
    AUTH_SECRET_PREVIOUS: secret.optional(),
    ALLOWED_ORIGINS: originList.optional(),
    ACCESS_TOKEN_AUDIENCE: z
      .string()
      .max(255, 'must have at most 255 characters, such as https://api.example.com')
      .optional(),
    ACCESS_TOKEN_SECONDS: seconds(1, maxAccessTokenSeconds, maxAccessTokenSeconds).prefault(
      String(maxAccessTokenSeconds),
    ),
    REFRESH_IDLE_SECONDS: seconds(1, 365 * day, 7 * day).optional(),
    REFRESH_ABSOLUTE_SECONDS: seconds(1, 365 * day, 30 * day).prefault(String(30 * day)),
    ROTATION_GRACE_SECONDS: seconds(0, 60, 10).prefault('10'),
    REUSE_SCOPE: flag('family', 'user').prefault('family'),
    REGISTRATION: flag('open', 'closed').optional(),
    PASSWORD_MIN_LENGTH: wholeNumber(8, 128, 15).prefault('15'),
    TRUSTED_PROXIES: cidrList.default([]),
    RATE_LIMITS: flag('on', 'off').prefault('on'),
    MAX_SESSIONS_PER_USER: wholeNumber(1, 10_000, 100).prefault('100'),
    METRICS_TOKEN: z
      .string()
      .min(16, 'must have at least 16 characters; make one with: openssl rand -hex 24')
      .optional(),
    REVOCATIONS_TOKEN: z
      .string()
      .min(16, 'must have at least 16 characters; make one with: openssl rand -hex 24')
      .optional(),
    LOG_LEVEL: flag('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent').prefault('info'),
    // Of OpenTelemetry's variables those that turn it on or off; its SDK reads all of them by itself.
    OTEL_EXPORTER_OTLP_ENDPOINT: z.string().optional(),
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: z.string().optional(),
    OTEL_TRACES_EXPORTER: z.string().optional(),
    OTEL_SDK_DISABLED: z.string().optional(),
  })
  .transform((env, ctx) => {
    const refuse = (variable: string, message: string) => {
      ctx.addIssue({ code: 'custom', path: [variable], message })
    }
    const isProduction = env.NODE_ENV === 'production'
    // As a browser writes an origin: without the port that its scheme implies.
    const publicUrl = env.PUBLIC_URL ?? new URL(`http://${bracketed(env.HOST)}:${env.PORT}`).origin
    const { protocol, hostname } = new URL(publicUrl)
    if (isProduction) {
      if (env.DATABASE_URL === undefined && env.EMBEDDED_POSTGRES !== 'allow')
        refuse(
          'DATABASE_URL',
          'is required in production, such as postgres://user:password@host:5432/database',
        )
      if (protocol === 'http:' && !isLoopback(hostname))
        refuse(
          'PUBLIC_URL',
          'must be https in production except on a loopback host, such as https://auth.example.com',
        )
      if (env.RATE_LIMITS === 'off')
        refuse('RATE_LIMITS', 'may not be off in production; leave it unset, or set it to: on')
    }
    // A short life that was set is not made impossible by a default that was not.
    const refreshIdleMs =
      env.REFRESH_IDLE_SECONDS ?? Math.min(7 * day * 1000, env.REFRESH_ABSOLUTE_SECONDS)
    if (refreshIdleMs > env.REFRESH_ABSOLUTE_SECONDS)
      refuse(
        'REFRESH_IDLE_SECONDS',
        `may not exceed REFRESH_ABSOLUTE_SECONDS, such as ${env.REFRESH_ABSOLUTE_SECONDS / 1000}`,
      )
    const wantsTraces =
      env.OTEL_TRACES_EXPORTER ??
      env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ??
      env.OTEL_EXPORTER_OTLP_ENDPOINT ??
      'none'
    return {
      isProduction,
      databaseUrl: env.DATABASE_URL,
      dataDir: env.DATA_DIR,
      host: env.HOST,
      port: env.PORT,
      publicUrl,
      isSecure: protocol === 'https:',
      authSecret: env.AUTH_SECRET,
      authSecretPrevious: env.AUTH_SECRET_PREVIOUS,
      allowedOrigins: env.ALLOWED_ORIGINS ?? [publicUrl],
      accessTokenAudience: env.ACCESS_TOKEN_AUDIENCE ?? publicUrl,
      accessTokenMs: env.ACCESS_TOKEN_SECONDS,
      refreshIdleMs,
      refreshAbsoluteMs: env.REFRESH_ABSOLUTE_SECONDS,
      rotationGraceMs: env.ROTATION_GRACE_SECONDS,
      reuseScope: env.REUSE_SCOPE,
      registration: env.REGISTRATION ?? (isProduction ? 'closed' : 'open'),
      passwordMinLength: env.PASSWORD_MIN_LENGTH,
      trustedProxies: env.TRUSTED_PROXIES,
      rateLimits: env.RATE_LIMITS,
      maxSessionsPerUser: env.MAX_SESSIONS_PER_USER,
      metricsToken: env.METRICS_TOKEN,
      revocationsToken: env.REVOCATIONS_TOKEN,
      logLevel: env.LOG_LEVEL,
      isTraced: wantsTraces !== 'none' && env.OTEL_SDK_DISABLED?.toLowerCase() !== 'true',
    }
  })

/**
 * Reads the configuration; an empty variable counts as unset.
 *
 * @throws {ConfigError} naming the first bad variable, and never echoing a value
 */
export function loadConfig(env: Record<string, string | undefined>): Config {
  const config = loadConfigWithoutSecret(env)
  if (config.isProduction && config.authSecret === undefined)
    throw new ConfigError(`AUTH_SECRET: ${secretAdvice('is required in production')}`)
  return config
}

/** As `loadConfig`, for work that uses no secret: production need not give it one. */
export function loadConfigWithoutSecret(env: Record<string, string | undefined>): Config {
  const set = Object.entries(env).filter(([, value]) => value !== undefined && value !== '')
  const result = Environment.safeParse(Object.fromEntries(set))
  if (result.success) return Object.freeze(result.data)
  const [issue] = result.error.issues
  throw new ConfigError(`${String(issue?.path[0] ?? 'environment')}: ${issue?.message}`)
}
