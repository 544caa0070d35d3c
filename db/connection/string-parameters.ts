/** What a parameter of a connection string may say. */
export type Parameter = {
  /** libpq's environment variable for it. */
  readonly variable?: string
  /** `none`: the parameter is refused, whatever its value. */
  readonly values: 'any' | 'none' | readonly string[]
}

const tlsModes = ['disable', 'allow', 'prefer', 'require', 'no-verify', 'verify-ca', 'verify-full']

/**
 * Every parameter that libpq knows, and those that other programs and providers add. Those that could change how safe a
 * connection is, and that this service does not honour, are refused.
 */
export const parameters: Readonly<Record<string, Parameter>> = {
  // These have an effect.
  host: { variable: 'PGHOST', values: 'any' },
  port: { variable: 'PGPORT', values: 'any' },
  dbname: { variable: 'PGDATABASE', values: 'any' },
  user: { variable: 'PGUSER', values: 'any' },
  password: { variable: 'PGPASSWORD', values: 'any' },
  application_name: { variable: 'PGAPPNAME', values: 'any' },
  options: { variable: 'PGOPTIONS', values: 'any' },
  target_session_attrs: {
    variable: 'PGTARGETSESSIONATTRS',
    values: ['any', 'read-write', 'primary'],
  },
  sslmode: { variable: 'PGSSLMODE', values: tlsModes },
  ssl: { values: ['true', 'false', ...tlsModes] },
  sslrootcert: { variable: 'PGSSLROOTCERT', values: 'any' },
  sslcert: { variable: 'PGSSLCERT', values: 'any' },
  sslkey: { variable: 'PGSSLKEY', values: 'any' },
  sslpassword: { values: 'any' },
  sslnegotiation: { variable: 'PGSSLNEGOTIATION', values: ['postgres', 'direct'] },
  channel_binding: { variable: 'PGCHANNELBINDING', values: ['disable', 'prefer', 'require'] },

  // These ask for what happens anyway, or for what has no counterpart here.
  client_encoding: { variable: 'PGCLIENTENCODING', values: ['auto', 'UTF8', 'utf8', 'UTF-8'] },
  connect_timeout: { variable: 'PGCONNECT_TIMEOUT', values: 'any' },
  fallback_application_name: { values: 'any' },
  gssdelegation: { variable: 'PGGSSDELEGATION', values: 'any' },
  gssencmode: { variable: 'PGGSSENCMODE', values: ['disable', 'prefer'] },
  gsslib: { variable: 'PGGSSLIB', values: 'any' },
  keepalives: { values: ['1'] },
  keepalives_count: { values: 'any' },
  keepalives_idle: { values: 'any' },
  keepalives_interval: { values: 'any' },
  krbsrvname: { variable: 'PGKRBSRVNAME', values: 'any' },
  load_balance_hosts: { variable: 'PGLOADBALANCEHOSTS', values: ['disable'] },
  replication: { values: ['false', 'off', 'no', '0'] },
  requiressl: { variable: 'PGREQUIRESSL', values: ['0'] },
  servicefile: { variable: 'PGSERVICEFILE', values: 'any' },
  ssl_max_protocol_version: { variable: 'PGSSLMAXPROTOCOLVERSION', values: ['TLSv1.3'] },
  ssl_min_protocol_version: {
    variable: 'PGSSLMINPROTOCOLVERSION',
    values: ['TLSv1', 'TLSv1.1', 'TLSv1.2'],
  },
  sslcertmode: { variable: 'PGSSLCERTMODE', values: ['allow'] },
  sslcompression: { variable: 'PGSSLCOMPRESSION', values: ['0'] },
  sslsni: { variable: 'PGSSLSNI', values: ['1'] },
  tcp_user_timeout: { values: 'any' },
  connection_limit: { values: 'any' },
  pgbouncer: { values: 'any' },
  pool_timeout: { values: 'any' },
  schema: { values: 'any' },
  statement_cache_size: { values: 'any' },
  supa: { values: 'any' },
  uselibpqcompat: { values: 'any' },

  hostaddr: { variable: 'PGHOSTADDR', values: 'none' },
  passfile: { variable: 'PGPASSFILE', values: 'none' },
  require_auth: { variable: 'PGREQUIREAUTH', values: 'none' },
  requirepeer: { variable: 'PGREQUIREPEER', values: 'none' },
  service: { variable: 'PGSERVICE', values: 'none' },
  sslcrl: { variable: 'PGSSLCRL', values: 'none' },
  sslcrldir: { variable: 'PGSSLCRLDIR', values: 'none' },
}

/** What is wrong with a parameter, without its value, to follow its name; null if nothing is. */
export function parameterProblem(name: string, value: string): string | null {
  const { values } = (Object.hasOwn(parameters, name) && parameters[name]) || { values: 'unknown' }
  if (values === 'unknown')
    return 'is not known; leave it out, or write a setting of Postgres such as options=-c%20work_mem%3D8MB'
  if (values === 'none') return 'is not supported; leave it out'
  if (values === 'any' || values.includes(value)) return null
  return `must be ${values.join(' or ')}, or left out`
}
