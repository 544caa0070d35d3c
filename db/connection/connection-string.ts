import { parameterProblem } from './string-parameters.ts'

/** A connection string that this service cannot use. The message says why in one line, without any value of it. */
export class BadConnectionString extends Error {
  override readonly name = 'BadConnectionString'
}

/** The parameters of a connection string under libpq's names, wherever they stand in it. */
export type Parameters = ReadonlyMap<string, string>

/** Where and as whom to connect. */
export type Address = {
  /** The name of a host, or the folder of a Unix socket, which begins with a slash. */
  readonly hosts: readonly { readonly name: string; readonly port: number }[]
  readonly database: string | undefined
  readonly user: string | undefined
  readonly password: string | undefined
  readonly tls: TlsMode
  /** Paths. */
  readonly tlsFiles: Readonly<Record<'sslrootcert' | 'sslcert' | 'sslkey', string | undefined>>
  readonly parameters: Parameters
}

/** `verify-ca` checks the certificate, `verify-full` the name in it as well. */
export type TlsMode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full'

const shape = /^postgres(?:ql)?:\/\/(?:([^/?#]*)@)?([^/?#@]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/

const example = 'such as postgres://user:password@host:5432/database'

/**
 * Reads a connection string as libpq does: several hosts with a port each, IPv6 in brackets, Unix sockets, and parts
 * given as parameters.
 *
 * @throws {BadConnectionString}
 */
export function parametersOf(connectionString: string): Parameters {
  const [matched, login, place = '', database = '', query = ''] = shape.exec(connectionString) ?? []
  if (matched === undefined) throw new BadConnectionString(`must be a Postgres URL, ${example}`)
  const found = new Map<string, string>()
  const set = (name: string, value: string | undefined) => {
    if (value !== undefined && value !== '') found.set(name, decoded(value))
  }
  // The comma at the end is for clients that take only a place with a comma for a folder.
  const hosts = place.replace(/,$/, '').split(',').map(hostAndPort)
  if (place !== '') {
    set('host', hosts.map(({ name }) => name).join(','))
    if (hosts.some(({ port }) => port !== '')) set('port', hosts.map(({ port }) => port).join(','))
  }
  const [, user, password] = /^([^:]*)(?::(.*))?$/s.exec(login ?? '') ?? []
  set('user', user)
  set('password', password)
  set('dbname', database)
  for (const pair of query.split('&').filter((text) => text !== '')) {
    const [, name = '', value = ''] = /^([^=]*)=?(.*)$/s.exec(pair) ?? []
    const problem = parameterProblem(decoded(name), decoded(value))
    if (problem !== null) throw new BadConnectionString(`its ${named(decoded(name))} ${problem}`)
    set(decoded(name), value)
  }
  return found
}

/** @throws {BadConnectionString} */
export function addressOf(connectionString: string): Address {
  const parameters = parametersOf(connectionString)
  const files = (name: 'sslrootcert' | 'sslcert' | 'sslkey') => parameters.get(name)
  const hosts = hostsOf(parameters)
  const sockets = hosts.filter(({ name }) => name.startsWith('/'))
  if (sockets.length > 0 && hosts.length > 1)
    throw new BadConnectionString('may name one folder of a Unix socket, and no host beside it')
  return {
    hosts,
    database: parameters.get('dbname'),
    user: parameters.get('user'),
    password: parameters.get('password'),
    tls: sockets.length > 0 ? 'disable' : tlsModeOf(parameters),
    tlsFiles: {
      sslrootcert: files('sslrootcert'),
      sslcert: files('sslcert'),
      sslkey: files('sslkey'),
    },
    parameters,
  }
}

/** As text that may be shown: without login and parameters. */
export function describeAddress({ hosts, database = '' }: Address): string {
  const places = hosts.map(({ name, port }) => {
    if (name.startsWith('/')) return name
    return `${name.includes(':') ? `[${name}]` : name}:${port}`
  })
  return `${database} at ${places.join(',')}`.trimStart()
}

/** What does not look like a name may be a part of a password. */
function named(parameter: string): string {
  return /^[a-z_]{1,40}$/i.test(parameter) ? `parameter ${parameter}` : 'last part'
}

function hostAndPort(text: string): { name: string; port: string } {
  const [matched, bracketed, plain = '', port = ''] =
    /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d*))?$/.exec(text) ?? []
  if (matched === undefined)
    throw new BadConnectionString(
      `has a host or a port that cannot be read: write IPv6 in brackets, and each of / ? # @ : in a password as % and its code, ${example}`,
    )
  return { name: bracketed ?? plain, port }
}

function hostsOf(parameters: Parameters): Address['hosts'] {
  const names = (parameters.get('host') ?? '').split(',')
  const ports = (parameters.get('port') ?? '').split(',')
  if (ports.length > 1 && ports.length !== names.length)
    throw new BadConnectionString('must have one port, or as many ports as hosts')
  return names.map((name, i) => {
    const port = Number((ports.length === 1 ? ports[0] : ports[i]) || 5432)
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      throw new BadConnectionString('must have ports from 1 to 65535')
    return { name: name || 'localhost', port }
  })
}

/**
 * The driver cannot bind a channel. Where that is required, the certificate is verified instead: either way the password
 * goes to no other server.
 */
function tlsModeOf(parameters: Parameters): TlsMode {
  if (parameters.get('channel_binding') === 'require') return 'verify-full'
  const rootCertificate = parameters.get('sslrootcert')
  if (rootCertificate === 'system') return 'verify-full'
  switch (parameters.get('sslmode') ?? parameters.get('ssl')) {
    case undefined:
    case 'disable':
    case 'false':
      return 'disable'
    // libpq would try without TLS first. With it first, a server that requires it needs one attempt.
    case 'allow':
    case 'prefer':
      return 'prefer'
    // As in libpq, a root certificate is there to be verified against.
    case 'require':
      return rootCertificate === undefined ? 'require' : 'verify-ca'
    case 'no-verify':
      return 'require'
    case 'verify-ca':
      return 'verify-ca'
    // `ssl=true` among them: other drivers verify then.
    default:
      return 'verify-full'
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new BadConnectionString(
      'has a % that is not percent-encoded; write it as %25, such as postgres://user:pass%25word@host:5432/database',
    )
  }
}
