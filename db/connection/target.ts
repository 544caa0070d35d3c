import { readFileSync } from 'node:fs'
import { addressOf, BadConnectionString, type Address } from './connection-string.ts'
import { codeOf } from './errors.ts'
import type { Place } from './reach.ts'
import type { SessionSettings } from './settings.ts'

/** What a connection string asks for. */
export type Target = {
  readonly places: readonly Place[]
  /** Under the driver's names. What is missing is the operating system's user. */
  readonly login: { readonly database?: string; readonly user?: string; readonly pass?: string }
  /** Which of several hosts will do. */
  readonly attributes: 'read-write' | 'primary' | null
  /** What Postgres gets with the connection, except for what the service sets itself. */
  readonly settings: SessionSettings
}

/**
 * Reads a connection string. The driver's own reading is not used: it knows neither IPv6 nor root certificates, and
 * sends parameters that it does not know to Postgres, where they would replace settings of the service.
 *
 * @throws {BadConnectionString} also for a file that cannot be read
 */
export function targetOf(connectionString: string): Target {
  const address = addressOf(connectionString)
  const { hosts, database, user, password, parameters } = address
  const ssl = tlsOf(address)
  const isDirectTls = parameters.get('sslnegotiation') === 'direct'
  const attributes = parameters.get('target_session_attrs')
  const sent = ['application_name', 'options'].flatMap((name) => {
    const value = parameters.get(name)
    return value === undefined ? [] : [[name, value] as const]
  })
  return {
    places: hosts.map(({ name, port }) => {
      const path = name.startsWith('/') ? `${name}/.s.PGSQL.${port}` : null
      return { host: name, port, path, ssl, isDirectTls }
    }),
    login: {
      ...(database !== undefined && { database }),
      ...(user !== undefined && { user }),
      ...(password !== undefined && { pass: password }),
    },
    attributes: attributes === 'read-write' || attributes === 'primary' ? attributes : null,
    settings: Object.fromEntries(sent),
  }
}

/** The authorities are those that Node trusts, unless the string names a file of its own. */
function tlsOf({ tls, tlsFiles, parameters }: Address): Place['ssl'] {
  if (tls === 'disable' || tls === 'prefer') return tls === 'prefer' && tls
  const { sslrootcert = 'system', sslcert, sslkey } = tlsFiles
  const passphrase = parameters.get('sslpassword')
  return {
    ...(sslrootcert !== 'system' && { ca: read('sslrootcert', sslrootcert) }),
    ...(sslcert !== undefined && { cert: read('sslcert', sslcert) }),
    ...(sslkey !== undefined && { key: read('sslkey', sslkey) }),
    ...(passphrase !== undefined && { passphrase }),
    rejectUnauthorized: tls !== 'require',
    ...(tls === 'verify-ca' && { checkServerIdentity: () => undefined }),
  }
}

function read(name: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new BadConnectionString(
      `its parameter ${name} names a file that cannot be read (${codeOf(error)}); name one that this user may read, such as /etc/ssl/certs/ca.pem`,
    )
  }
}
