/**
 * Where names without a schema are looked up. Other logins may be able to create functions in the schema public, and
 * one with closer argument types would run in place of Postgres's own, with the rights of this connection.
 */
export const safeSearchPath = 'pg_catalog, pg_temp'

/** Settings of a session, by name, each value as `current_setting` shows it. */
export type SessionSettings = Readonly<Record<string, string>>

/**
 * What the code relies on, whatever is set for the server, the database or the login. Postgres keeps a value that the
 * client sent with its connection, also when the configuration of the server is reloaded.
 */
export const pinnedSettings: SessionSettings = {
  search_path: safeSearchPath,
  // A statement that waited for a lock has to see what was committed meanwhile.
  default_transaction_isolation: 'read committed',
  row_security: 'on',
  // Over many partitions, compiling a plan takes seconds, and running it takes milliseconds.
  jit: 'off',
  // How values are written. The code reads these forms and no others.
  bytea_output: 'hex',
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  extra_float_digits: '1',
  standard_conforming_strings: 'on',
  // The database may be set to session_replication_role = replica, which an owner's connection then has as well. With
  // this, the guards of the schema do not take what it writes for rows of another database (is_applying).
  'token_ledger.appends': 'yes',
}

/** A duration as Postgres shows it: in the largest unit that divides it. */
export function duration(ms: number): string {
  if (ms % 60_000 === 0) return `${ms / 60_000}min`
  return ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`
}

/** A pooler names the application itself, and a Unix socket has no keepalive. */
const unchecked = /^(application_name|tcp_keepalives_.*)$/

/**
 * A query for a new connection. Its row has the names of the settings that the session did not take, or null; whether
 * the server is a standby; and whether transactions are read-only.
 */
export function stateQuery(settings: SessionSettings): string {
  const wanted = Object.entries(settings)
    .filter(([name]) => !unchecked.test(name))
    .map(([name, value]) => `(${literal(name)}, ${literal(value)})`)
  return `
    select
      (
        select string_agg(name, ', ')
        from (values ${wanted.join(', ')}) as wanted (name, value)
        where pg_catalog.current_setting(name, true) is distinct from value
      ),
      pg_catalog.pg_is_in_recovery(),
      pg_catalog.current_setting('transaction_read_only') = 'on'`
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
