import { setTimeout as sleep } from 'node:timers/promises'
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { NodeSDK } from '@opentelemetry/sdk-node'
import type { FastifyInstance, FastifyRequest } from 'fastify'

/**
 * Makes a span of each request, which ends with its response. Call it before the app has routes.
 *
 * @param procedurePaths paths that a span may name; other requests are named by the pattern of their route
 */
export type TraceRequests = (app: FastifyInstance, procedurePaths: ReadonlySet<string>) => void

export type Telemetry = {
  readonly traceRequests: TraceRequests
  /** The trace and span of the current request, for each log line. */
  readonly logFields: () => Record<string, string>
  /** Sends the remaining spans. */
  stop(): Promise<void>
}

/** The SDK retries an unreachable collector for ten seconds. Stopping does not wait that long. */
const stopMs = 2_000

/** Machines request these every few seconds: they would make up most of the spans. */
const untraced: ReadonlySet<string> = new Set(['/healthz', '/readyz', '/metrics'])

/**
 * Starts the SDK, which reads the standard variables itself. This file is imported only when they turn
 * tracing on.
 *
 * The spans are made here and not by an instrumentation of HTTP or Fastify: those record URLs with their
 * query, or error messages, and both may contain a secret (ASVS 5.0, 16.2.5). The only client input in
 * these spans is the W3C context of the trace they belong to.
 */
export function startTelemetry(): Telemetry {
  const sdk = new NodeSDK({
    // Metrics are at /metrics, and logs on stdout.
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
    // Fires too when the client disconnects early; the hook `onResponse` does not.
    raw.once('close', () => {
      if (raw.headersSent) span.setAttribute('http.response.status_code', raw.statusCode)
      if (raw.statusCode >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
      span.end()
    })
    context.with(trace.setSpan(caller, span), done)
  })
}

/** The path of a known procedure, or the pattern of the route; '' without a route. Never another path from a client. */
function routeOf(
  { url, routeOptions }: FastifyRequest,
  procedurePaths: ReadonlySet<string>,
): string {
  const path = url.split('?', 1)[0] ?? ''
  return procedurePaths.has(path) ? path : (routeOptions.url ?? '')
}
