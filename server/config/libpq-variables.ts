import { parametersOf, type Parameters } from '../../db/connection/connection-string.ts'
import { parameters, parameterProblem } from '../../db/connection/string-parameters.ts'
import { ConfigError } from './config-error.ts'

type Environment = Readonly<Record<string, string | undefined>>

/**
 * The connection string with what it leaves open and libpq's variables give, such as PGPASSWORD. One that cannot be read
 * stays as it is.
 *
 * @throws {ConfigError} that names a variable which would have an effect in libpq and has none here
 */
export function withLibpqVariables(connectionString: string, env: Environment): string {
  const given = readable(connectionString)
  if (given === null) return connectionString
  const added = Object.entries(parameters).flatMap(([name, { variable }]) => {
    const value = variable === undefined ? undefined : env[variable]
    if (value === undefined || value === '' || given.has(name)) return []
    // libpq looks into that file for a password alone.
    if (name === 'passfile' && (given.has('password') || env.PGPASSWORD)) return []
    const problem = parameterProblem(name, value)
    if (problem !== null) throw new ConfigError(`${variable}: ${problem}`)
    return [`${name}=${encodeURIComponent(value)}`]
  })
  if (added.length === 0) return connectionString
  const separator = connectionString.includes('?') ? '&' : '?'
  return `${connectionString}${separator}${added.join('&')}`
}

function readable(connectionString: string): Parameters | null {
  try {
    return parametersOf(connectionString)
  } catch {
    return null
  }
}

/**
 * Removes every variable that the driver would read by itself: it does not read them as libpq does, and would follow
 * them even to the embedded Postgres.
 */
export function hideLibpqVariables(env: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(env)) if (/^PG[A-Z_]+$/.test(name)) delete env[name]
}
