import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { AuthError } from '../errors.ts'
import type { LogSecurityEvent } from './security-log.ts'

export type Metrics = {
  readonly registry: Registry
  readonly count: LogSecurityEvent
  /** A refresh that waited so long for its batch. */
  readonly waited: (ms: number) => void
  /** Times a refresh and counts it by its outcome: `granted`, or the reason of the refusal. */
  timing<Request, Granted>(
    rotate: (request: Request) => Promise<Granted>,
  ): (request: Request) => Promise<Granted>
}

type NumberByState = Readonly<Record<string, number>>

/** Numbers for `/metrics`, of this process alone. */
export function createMetrics(load: {
  queueDepth: () => number
  passwordHashes: () => NumberByState
  transactions: () => NumberByState
  openTails: () => number
  revocationLagMs: () => number
}): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const refreshes = new Counter({
    name: 'token_ledger_refreshes_total',
    help: 'Refreshes by outcome: granted, or the reason of the refusal',
    labelNames: ['outcome'],
    registers,
  })
  const refreshSeconds = new Histogram({
    name: 'token_ledger_refresh_seconds',
    help: 'From the token to its successor, waiting for a batch included',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
    registers,
  })
  const securityEvents = new Counter({
    name: 'token_ledger_security_events_total',
    help: 'Security events as the log has them; reuse_detected is the one to alert on',
    labelNames: ['event', 'reason'],
    registers,
  })
  const waitSeconds = new Histogram({
    name: 'token_ledger_rotation_wait_seconds',
    help: 'How long a refresh waited for its batch to begin',
    buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
    registers,
  })
  addGauge(registry, {
    name: 'token_ledger_rotation_queue_depth',
    help: 'Refreshes that wait for a batch',
    read: load.queueDepth,
  })
  addGauge(registry, {
    name: 'token_ledger_transactions',
    help: 'Transactions that are open, or wait for a connection',
    read: load.transactions,
  })
  addGauge(registry, {
    name: 'token_ledger_open_tails',
    help: 'Admins who follow the ledger',
    read: load.openTails,
  })
  addGauge(registry, {
    name: 'token_ledger_password_hashes',
    help: 'Password hashes that run or wait',
    read: load.passwordHashes,
  })
  addGauge(registry, {
    name: 'token_ledger_revocation_lag_seconds',
    help: 'Since the ends of sessions were last looked for with success; beyond 5 each call asks the database',
    read: () => load.revocationLagMs() / 1000,
  })

  return {
    registry,
    count: (event) =>
      securityEvents.inc({ event: event.event, reason: 'reason' in event ? event.reason : '' }),
    waited: (ms) => waitSeconds.observe(ms / 1000),
    timing: (rotate) => async (request) => {
      const end = refreshSeconds.startTimer()
      try {
        const session = await rotate(request)
        refreshes.inc({ outcome: 'granted' })
        return session
      } catch (error) {
        refreshes.inc({ outcome: error instanceof AuthError ? error.reason : 'internal_error' })
        throw error
      } finally {
        end()
      }
    },
  }
}

/** What is read whenever somebody looks: a number, or one for each state. */
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
