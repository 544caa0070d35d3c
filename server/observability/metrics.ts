import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Reason } from '../errors.ts'
import type { LogSecurityEvent } from './security-log.ts'

export type Metrics = {
  readonly registry: Registry
  readonly countSecurityEvent: LogSecurityEvent
  readonly refreshObserver: RefreshObserver
}

/** What the rotation reports about each refresh. Durations are milliseconds. */
export type RefreshObserver = {
  /** The refresh waited this long for its batch to start. */
  readonly waited: (ms: number) => void
  /** The refresh has its answer: `granted`, or the reason it was refused with. */
  readonly answered: (outcome: Reason | 'granted', ms: number) => void
}

type NumberByState = Readonly<Record<string, number>>

/** Numbers that are read when `/metrics` is requested. */
export type Load = {
  queueDepth(): number
  passwordHashes(): NumberByState
  transactions(): NumberByState
  openTails(): number
  revocationLagMs(): number
  endedSessions(): number
  signingKeys(): NumberByState
  signingKeysAgeMs(): number
  accessTokenCache(): { readonly size: number; readonly hits: number; readonly misses: number }
  logAppended(): number
  checkpointLeaves(): number
  checkpointRefused(): number
}

const gauges: readonly {
  name: string
  help: string
  read: (load: Load) => number | NumberByState
}[] = [
  {
    name: 'token_ledger_rotation_queue_depth',
    help: 'Refreshes that wait for a batch',
    read: (load) => load.queueDepth(),
  },
  {
    name: 'token_ledger_transactions',
    help: 'Transactions that are open or wait for a connection',
    read: (load) => load.transactions(),
  },
  {
    name: 'token_ledger_open_tails',
    help: 'Open streams of admin.ledger.tail',
    read: (load) => load.openTails(),
  },
  {
    name: 'token_ledger_password_hashes',
    help: 'Password hashes that run or wait',
    read: (load) => load.passwordHashes(),
  },
  {
    name: 'token_ledger_revocation_lag_seconds',
    help: 'Time since the ended sessions were last read; above 5, each call asks the database',
    read: (load) => load.revocationLagMs() / 1000,
  },
  {
    name: 'token_ledger_ended_sessions',
    help: 'Lately ended sessions in memory; 4,000,000 at most',
    read: (load) => load.endedSessions(),
  },
  {
    name: 'token_ledger_signing_keys',
    help: 'Signing keys that are in use, and rows of keys that are skipped',
    read: (load) => load.signingKeys(),
  },
  {
    name: 'token_ledger_signing_keys_age_seconds',
    help: 'Time since the signing keys were last read',
    read: (load) => load.signingKeysAgeMs() / 1000,
  },
  {
    name: 'token_ledger_cached_access_tokens',
    help: 'Access tokens whose signatures need no further check; 20,000 at most',
    read: (load) => load.accessTokenCache().size,
  },
  {
    name: 'token_ledger_log_appended',
    help: 'Leaves that this process has appended to the log',
    read: (load) => load.logAppended(),
  },
  {
    name: 'token_ledger_checkpoint_leaves',
    help: 'Leaves of the last checkpoint that this process signed or read',
    read: (load) => load.checkpointLeaves(),
  },
  {
    name: 'token_ledger_checkpoint_refused',
    help: 'Whether no checkpoint is signed, because the log does not continue an earlier one; alert on 1',
    read: (load) => load.checkpointRefused(),
  },
]

const accessTokenChecks = {
  name: 'token_ledger_access_token_checks_total',
  help: 'Checks of access tokens: from the cache (hit), or in full (miss)',
  labelNames: ['cache'],
} as const

const refreshCounter = {
  name: 'token_ledger_refreshes_total',
  help: 'Refreshes by outcome: granted, or the reason of the refusal',
  labelNames: ['outcome'],
} as const

const refreshDurations = {
  name: 'token_ledger_refresh_seconds',
  help: 'Duration of a refresh, including the wait for its batch',
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
}

const batchWaits = {
  name: 'token_ledger_rotation_wait_seconds',
  help: 'How long a refresh waited for its batch to start',
  buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
}

const securityEventCounter = {
  name: 'token_ledger_security_events_total',
  help: 'Security events, as in the log; alert on reuse_detected',
  labelNames: ['event', 'reason'],
} as const

/** Metrics of this process alone. */
export function createMetrics(load: Load): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const refreshes = new Counter({ ...refreshCounter, registers })
  const refreshSeconds = new Histogram({ ...refreshDurations, registers })
  const waitSeconds = new Histogram({ ...batchWaits, registers })
  const securityEvents = new Counter({ ...securityEventCounter, registers })
  const checks: Counter<'cache'> = new Counter({
    ...accessTokenChecks,
    registers,
    collect: () => {
      const { hits, misses } = load.accessTokenCache()
      checks.reset()
      checks.inc({ cache: 'hit' }, hits)
      checks.inc({ cache: 'miss' }, misses)
    },
  })
  for (const { name, help, read } of gauges)
    addGauge(registry, { name, help, read: () => read(load) })

  return {
    registry,
    countSecurityEvent: (event) =>
      securityEvents.inc({ event: event.event, reason: 'reason' in event ? event.reason : '' }),
    refreshObserver: {
      waited: (ms) => waitSeconds.observe(ms / 1000),
      answered(outcome, ms) {
        refreshes.inc({ outcome })
        refreshSeconds.observe(ms / 1000)
      },
    },
  }
}

/** A gauge with one value, or with one for each state. */
function addGauge(
  registry: Registry,
  { read, ...about }: { name: string; help: string; read: () => number | NumberByState },
): void {
  const gauge: Gauge<'state'> = new Gauge({
    ...about,
    labelNames: ['state'],
    registers: [registry],
    collect: () => {
      const now = read()
      if (typeof now === 'number') gauge.set(now)
      else for (const [state, number] of Object.entries(now)) gauge.set({ state }, number)
    },
  })
}
