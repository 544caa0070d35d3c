import { setTimeout as sleep } from 'node:timers/promises'
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { NodeSDK } from '@opentelemetry/sdk-node'
import type { FastifyInstance, FastifyRequest } from 'fastify'

/**
 * For an app that has no route yet: each request becomes a span, which ends with its answer.
 *
 * @param procedurePaths paths that may stand in a span as they were sent; of all others the route's pattern does
 */
export type TraceRequests = (app: FastifyInstance, procedurePaths: ReadonlySet<string>) => void

export type Telemetry = {
  readonly traceRequests: TraceRequests
  /** What a log line says of the request it belongs to. */
  readonly logFields: () => Record<string, string>
  /** Sends what is left. */
  stop(): Promise<void>
}

/** A collector that is away is tried for ten seconds; no stop waits that long. */
const stopMs = 2_000

/** Asked every few seconds by machines: they would be most of all spans. */
const untraced: ReadonlySet<string> = new Set(['/healthz', '/readyz', '/metrics'])

/**
 * Starts the SDK, which reads the standard variables by itself. This file is imported only when they
 * ask for traces.
 *
 * The spans are made here, and not by an instrumentation of HTTP or of Fastify: these write down URLs
 * with their query, or what an error says, and either may hold a secret (ASVS 5.0, 16.2.5). Nothing that
 * a caller wrote is in a span of ours, but the W3C context of the trace it belongs to.
 */
export function startTelemetry(): Telemetry {
  const sdk = new NodeSDK({
    // Numbers are at /metrics, and lines on stdout.
    metricReaders: [],
    logRecordProcessors: [],
  })
  sdk.start()
  return {
    traceRequests,
    logFields: () => {
      const span = trace.getActiveSpan()?.spanContext()
      return span === undefined ? {} : { trace_id: span.traceId, span_id: span.spanId }
    },
    stop: () => Promise.race([sdk.shutdown(), sleep(stopMs)]),
  }
}

function traceRequests(app: FastifyInstance, procedurePaths: ReadonlySet<string>): void {
  const tracer = trace.getTracer('token-ledger')
  app.addHook('onRequest', (request, { raw }, done) => {
    const route = routeOf(request, procedurePaths)
    if (untraced.has(route)) return done()
    const caller = propagation.extract(context.active(), request.headers)
    const attributes = {
      'http.request.method': request.method,
      ...(route !== '' && { 'http.route': route }),
    }
    const name = `${request.method} ${route}`.trim()
    const span = tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, caller)
    // Also when its caller has gone before the end, which the hook `onResponse` is not told.
    raw.once('close', () => {
      if (raw.headersSent) span.setAttribute('http.response.status_code', raw.statusCode)
      if (raw.statusCode >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
      span.end()
    })
    context.with(trace.setSpan(caller, span), done)
  })
}

/** The procedure's path, or the pattern of the route; '' where there is none. Never a path as it was sent. */
function routeOf(
  { url, routeOptions }: FastifyRequest,
  procedurePaths: ReadonlySet<string>,
): string {
  const path = url.split('?', 1)[0] ?? ''
  return procedurePaths.has(path) ? path : (routeOptions.url ?? '')
}
