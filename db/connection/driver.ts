import postgres from 'postgres'
import { createBackoff } from './backoff.ts'
import { ConnectionRefused } from './handshake.ts'
import type { Place } from './reach.ts'
import { pinnedSettings, stateQuery, type SessionSettings } from './settings.ts'
import { createSockets, type SocketEvents } from './socket.ts'

export type DriverOptions = {
  /** How long a socket waits for any answer; null waits without limit. */
  readonly answerWithinMs: number | null
  /** Whether a standby is refused. */
  readonly needsPrimary: boolean
}

export type OwnOptions = {
  readonly max: number
  readonly settings: SessionSettings
  readonly max_lifetime?: number | null
  readonly types?: Record<string, postgres.PostgresType>
  readonly onnotify?: (channel: string, payload: string) => void
}

/** Makes pools of postgres.js, on sockets of our own. */
export type Driver = (own: OwnOptions, events: SocketEvents) => postgres.Sql

/**
 * Each new connection is asked whether it has taken its settings, its role among them. All pools of one driver share
 * its backoff.
 */
export function createDriver(databaseUrl: string, options: DriverOptions): Driver {
  const backoff = createBackoff()
  const { places, target } = parse(databaseUrl)
  const [first] = places
  return ({ settings, ...own }, events) => {
    const socket = createSockets({
      backoff,
      places,
      query: stateQuery(settings),
      check: (row) => checkState(row, { ...options, target }),
      answerWithinMs: options.answerWithinMs,
      events,
    })
    const settled = {
      ...own,
      connection: settings,
      onnotice: () => {},
      fetch_types: false,
      // The rest is done by the sockets. With several hosts the driver would try again without end.
      socket,
      ssl: false,
      host: [first?.host ?? 'localhost'],
      port: [first?.port ?? 5432],
      keep_alive: 5,
      connect_timeout: 0,
      backoff: 0,
    }
    return postgres(databaseUrl, settled as unknown as postgres.Options<{}>)
  }
}

/** One connection for an owner's work, without a limit on how long a statement may run. */
export function connectOwner(databaseUrl: string, settings: SessionSettings): postgres.Sql {
  const driver = createDriver(databaseUrl, { answerWithinMs: null, needsPrimary: true })
  const events = { onLost: () => {}, onSilence: () => {} }
  const unlimited = { statement_timeout: '0', idle_in_transaction_session_timeout: '0' }
  return driver({ max: 1, settings: { ...pinnedSettings, ...unlimited, ...settings } }, events)
}

/** What the driver reads from the URL and from the environment. */
type Parsed = {
  readonly host: readonly string[]
  readonly port: readonly number[]
  readonly path: string | false
  readonly ssl: Place['ssl']
  readonly sslnegotiation: string | null
  readonly target_session_attrs: string | null
}

function parse(databaseUrl: string): { places: readonly Place[]; target: string | null } {
  const parsed = postgres(databaseUrl).options as unknown as Parsed
  const { host: hosts, port: ports, ssl, target_session_attrs: target } = parsed
  const path = parsed.path === false ? null : parsed.path
  const isDirectTls = parsed.sslnegotiation === 'direct'
  const of = (host: string, at: number) => ({
    host,
    port: ports[at] ?? ports[0] ?? 5432,
    path,
    ssl,
    isDirectTls,
  })
  return { places: (path === null ? hosts : hosts.slice(0, 1)).map(of), target }
}

/** @throws {ConnectionRefused} when the connection cannot serve */
function checkState(
  [missing, isStandby, isReadOnly]: readonly (string | null)[],
  { needsPrimary, target }: { needsPrimary: boolean; target: string | null },
): void {
  if (missing !== null)
    throw new ConnectionRefused(
      'CONNECT_SETTINGS',
      `the connection did not take ${missing}: a pooler such as PgBouncer dropped them, or the URL has others; set DATABASE_URL and MIGRATION_DATABASE_URL to Postgres itself`,
    )
  const mustNotBeStandby = needsPrimary || target === 'primary' || target === 'read-write'
  if (mustNotBeStandby && isStandby === 't')
    throw new ConnectionRefused('25006', 'the server is a standby, which is read-only')
  if (target === 'read-write' && isReadOnly === 't')
    throw new ConnectionRefused('25006', 'the database is read-only')
}
