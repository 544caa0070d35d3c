import { readFileSync } from 'node:fs'
import postgres from 'postgres'
import { addressOf, BadConnectionString, type Address } from './connection-string.ts'
import { codeOf } from './errors.ts'

export type DriverSettings = postgres.Options<Record<string, postgres.PostgresType>>

/**
 * Opens a pool of the driver. The driver's own reading of a URL is not used: it knows neither IPv6 nor root
 * certificates, and sends parameters that it does not know to Postgres, where they would replace settings of the caller.
 *
 * @throws {BadConnectionString}
 */
export function openDriver(databaseUrl: string, settings: DriverSettings): postgres.Sql {
  const { connection, ...target } = driverOptions(databaseUrl)
  const options = {
    ...target,
    ...settings,
    connection: { ...settings.connection, ...connection },
  }
  // The driver takes several hosts with their ports; its types have one.
  return postgres(options as unknown as DriverSettings)
}

/** @throws {BadConnectionString} also for a file that cannot be read */
export function driverOptions(databaseUrl: string) {
  const address = addressOf(databaseUrl)
  const { hosts, database, user, password, parameters } = address
  const attributes = parameters.get('target_session_attrs')
  const socket = hosts.find(({ name }) => name.startsWith('/'))
  return {
    host: hosts.map(({ name }) => name),
    port: hosts.map(({ port }) => port),
    ...(socket && { path: `${socket.name}/.s.PGSQL.${socket.port}` }),
    ...(database !== undefined && { database }),
    ...(user !== undefined && { user }),
    ...(password !== undefined && { pass: password }),
    ssl: tlsOf(address),
    ...(parameters.get('sslnegotiation') === 'direct' && { sslnegotiation: 'direct' }),
    ...((attributes === 'read-write' || attributes === 'primary') && {
      target_session_attrs: attributes,
    }),
    connection: Object.fromEntries(
      ['application_name', 'options'].flatMap((name) => {
        const value = parameters.get(name)
        return value === undefined ? [] : [[name, value]]
      }),
    ),
  }
}

/** The certificates of authorities that Node trusts, unless the string names a file of its own. */
function tlsOf({ hosts, tls, tlsFiles, parameters }: Address) {
  if (tls === 'disable') return false
  const { sslrootcert, sslcert, sslkey } = tlsFiles
  const passphrase = parameters.get('sslpassword')
  const [host, ...others] = hosts
  const files = {
    // The name in the certificate is compared with it where the driver does not set another: it leaves out IP addresses.
    ...(others.length === 0 && { host: host?.name }),
    ...(sslrootcert !== undefined &&
      sslrootcert !== 'system' && { ca: read('sslrootcert', sslrootcert) }),
    ...(sslcert !== undefined && { cert: read('sslcert', sslcert) }),
    ...(sslkey !== undefined && { key: read('sslkey', sslkey) }),
    ...(passphrase !== undefined && { passphrase }),
  }
  if (tls === 'prefer') return tls
  if (tls === 'require') return { ...files, rejectUnauthorized: false }
  if (tls === 'verify-full') return { ...files, rejectUnauthorized: true }
  return { ...files, rejectUnauthorized: true, checkServerIdentity: () => undefined }
}

function read(name: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new BadConnectionString(
      `has the parameter ${name}, whose file cannot be read (${codeOf(error)}); name a file that this user may read`,
    )
  }
}
