import postgres from 'postgres'
import { createBackoff, type Backoff } from './backoff.ts'
import { ConnectionRefused } from './handshake.ts'
import type { Place } from './reach.ts'
import { pinnedSettings, stateQuery, type SessionSettings } from './settings.ts'
import { createSockets, type SocketEvents, type Sockets } from './socket.ts'
import { targetOf, type Target } from './target.ts'

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
 * its backoff. With several places, each connection is preceded by one that shows whether the place will do.
 */
export function createDriver(databaseUrl: string, options: DriverOptions): Driver {
  const { places, login, attributes, settings: asked } = targetOf(databaseUrl)
  const [first] = places

  function open(
    at: { readonly places: readonly Place[]; readonly backoff: Backoff },
    { settings, ...own }: OwnOptions,
    events: SocketEvents,
  ): postgres.Sql {
    const sockets = createSockets({
      ...at,
      probe: (place) => probe(place, settings),
      query: stateQuery(settings),
      check: (row) => checkState(row, { ...options, attributes }),
      answerWithinMs: options.answerWithinMs,
      events,
    })
    const settled = {
      ...login,
      ...own,
      // Of the options of a command line and a setting of the same name, Postgres takes the setting.
      connection: { ...settings, ...asked },
      onnotice: () => {},
      fetch_types: false,
      // The rest is done by the sockets. With several hosts the driver would try again without end.
      socket: () => sockets.open(),
      ssl: false,
      host: [first?.host ?? 'localhost'],
      port: [first?.port ?? 5432],
      keep_alive: 5,
      connect_timeout: 0,
      backoff: 0,
    }
    return closedWhenEnded(postgres(settled as unknown as postgres.Options<{}>), sockets)
  }

  async function probe(place: Place, settings: SessionSettings): Promise<void> {
    const at = { places: [place], backoff: createBackoff() }
    const sql = open(at, { max: 1, settings }, { onLost: () => {}, onSilence: () => {} })
    try {
      await sql`select 1`
    } finally {
      await sql.end({ timeout: 0 })
    }
  }

  const all = { places, backoff: createBackoff() }
  return (own, events) => open(all, own, events)
}

/** The driver waits without limit for a connection that was lost during a statement. */
const endWithinSeconds = 5

/**
 * Lets `end` of the pool leave no connection. That of postgres.js 3.4 opens new ones for statements that wait for a
 * connection, and keeps them: the process could not exit.
 */
function closedWhenEnded(sql: postgres.Sql, sockets: Sockets): postgres.Sql {
  const end = sql.end.bind(sql)
  sql.end = async ({ timeout = endWithinSeconds } = {}) => {
    await end({ timeout })
    sockets.close()
  }
  return sql
}

/** One connection for an owner's work, without a limit on how long a statement may run. */
export function connectOwner(databaseUrl: string, settings: SessionSettings): postgres.Sql {
  const driver = createDriver(databaseUrl, { answerWithinMs: null, needsPrimary: true })
  const events = { onLost: () => {}, onSilence: () => {} }
  const unlimited = { statement_timeout: '0', idle_in_transaction_session_timeout: '0' }
  return driver({ max: 1, settings: { ...pinnedSettings, ...unlimited, ...settings } }, events)
}

/** @throws {ConnectionRefused} when the connection cannot serve */
function checkState(
  [missing, isStandby, isReadOnly]: readonly (string | null)[],
  { needsPrimary, attributes }: { needsPrimary: boolean } & Pick<Target, 'attributes'>,
): void {
  if (missing !== null)
    throw new ConnectionRefused(
      'CONNECT_SETTINGS',
      `the connection did not take ${missing}: a pooler such as PgBouncer dropped them; set DATABASE_URL and MIGRATION_DATABASE_URL to Postgres itself`,
    )
  const mustNotBeStandby = needsPrimary || attributes !== null
  if (mustNotBeStandby && isStandby === 't')
    throw new ConnectionRefused('25006', 'the server is a standby, which is read-only')
  if (attributes === 'read-write' && isReadOnly === 't')
    throw new ConnectionRefused('25006', 'the database is read-only')
}
