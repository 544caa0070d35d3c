import { addressOf } from '../../db/connection/connection-string.ts'
import { isLoopback, secret } from './values.ts'

/** The variables that production is strict about. */
type Variables = {
  readonly NODE_ENV: string
  readonly PUBLIC_DEVELOPMENT?: 'allow' | undefined
  readonly HOST: string
  readonly PUBLIC_URL?: string | undefined
  readonly ALLOWED_ORIGINS?: readonly string[] | undefined
  readonly DATABASE_URL?: string | undefined
  readonly MIGRATION_DATABASE_URL?: string | undefined
  readonly DATABASE_WITHOUT_TLS?: 'allow' | undefined
  readonly EMBEDDED_POSTGRES?: 'allow' | undefined
  readonly AUTH_SECRET?: string | undefined
  readonly AUTH_SECRET_PREVIOUS?: string | undefined
  readonly METRICS_TOKEN?: string | undefined
  readonly REVOCATIONS_TOKEN?: string | undefined
  readonly LEDGER_TOKEN?: string | undefined
  readonly SIGN_IN_TOKEN?: string | undefined
  readonly RATE_LIMITS: 'on' | 'off'
}

type Problem = readonly [variable: keyof Variables, message: string]

/** Whether the rules of production apply. NODE_ENV is not the only sign: most hosts leave it unset. */
export function isInProduction(env: Variables, publicUrl: string): boolean {
  if (env.NODE_ENV === 'production') return true
  if (env.PUBLIC_DEVELOPMENT === 'allow') return false
  const { protocol, hostname } = new URL(publicUrl)
  return !isLoopback(env.HOST) || (protocol === 'https:' && !isLoopback(hostname))
}

/** For the message of a rule that a service without NODE_ENV=production breaks. */
export const exposedAdvice =
  '; a HOST or https PUBLIC_URL beyond loopback counts as production: to develop there, set PUBLIC_DEVELOPMENT=allow'

/** What production requires beyond the rules of each variable. */
export function productionProblems(env: Variables, publicUrl: string): Problem[] {
  return [
    ...databaseProblems(env),
    ...originProblems(env, publicUrl),
    ...secretProblems(env),
    ...(env.RATE_LIMITS === 'off'
      ? [
          [
            'RATE_LIMITS',
            'may not be off in production; leave it unset, or set it to: on',
          ] satisfies Problem,
        ]
      : []),
  ]
}

const withoutTls =
  'must verify the certificate of a database on another host, such as postgres://user:password@host:5432/database?sslmode=verify-full; on a private network, DATABASE_WITHOUT_TLS=allow goes without'

function databaseProblems(env: Variables): Problem[] {
  if (env.DATABASE_URL === undefined)
    return env.EMBEDDED_POSTGRES === 'allow'
      ? []
      : [
          [
            'DATABASE_URL',
            'is required in production, such as postgres://user:password@host:5432/database?sslmode=verify-full',
          ],
        ]
  if (env.DATABASE_WITHOUT_TLS === 'allow') return []
  return (['DATABASE_URL', 'MIGRATION_DATABASE_URL'] as const).flatMap((variable): Problem[] => {
    const url = env[variable]
    return url === undefined || isVerifiedOrLocal(url) ? [] : [[variable, withoutTls]]
  })
}

/** Local: a Unix socket or loopback. */
function isVerifiedOrLocal(databaseUrl: string): boolean {
  const { hosts, tls, parameters } = addressOf(databaseUrl)
  if (tls === 'verify-full') return true
  // A string without a host does not say where it leads: PGHOST may be set elsewhere.
  return (
    parameters.has('host') && hosts.every(({ name }) => name.startsWith('/') || isLoopback(name))
  )
}

function originProblems(env: Variables, publicUrl: string): Problem[] {
  const problems: Problem[] = []
  if (isPlainHttp(publicUrl))
    problems.push([
      'PUBLIC_URL',
      'must be https in production except on a loopback host, such as https://auth.example.com',
    ])
  if (env.ALLOWED_ORIGINS?.some(isPlainHttp))
    problems.push([
      'ALLOWED_ORIGINS',
      'must be https in production except on a loopback host, such as https://app.example.com',
    ])
  return problems
}

function isPlainHttp(origin: string): boolean {
  const { protocol, hostname } = new URL(origin)
  return protocol === 'http:' && !isLoopback(hostname)
}

/** The tokens that other programs send are as strong as AUTH_SECRET, and each secret has a value of its own. */
function secretProblems(env: Variables): Problem[] {
  const weak = (
    ['METRICS_TOKEN', 'REVOCATIONS_TOKEN', 'LEDGER_TOKEN', 'SIGN_IN_TOKEN'] as const
  ).flatMap((variable): Problem[] => {
    const problem = secret.optional().safeParse(env[variable]).error?.issues[0]
    return problem === undefined ? [] : [[variable, `in production ${problem.message}`]]
  })
  const seen = new Set<string>()
  const repeated = secretVariables.flatMap((variable): Problem[] => {
    const value = env[variable]
    if (value === undefined) return []
    if (seen.has(value))
      return [
        [
          variable,
          'has the value of another secret; make one of its own with: openssl rand -base64 48',
        ],
      ]
    seen.add(value)
    return []
  })
  return [...weak, ...repeated]
}

const secretVariables = [
  'AUTH_SECRET',
  'AUTH_SECRET_PREVIOUS',
  'METRICS_TOKEN',
  'REVOCATIONS_TOKEN',
  'LEDGER_TOKEN',
  'SIGN_IN_TOKEN',
] as const
