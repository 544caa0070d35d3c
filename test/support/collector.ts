import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'

/** The part of a span in OTLP's JSON that tests look at. */
export type ReceivedSpan = {
  readonly traceId: string
  readonly parentSpanId?: string
  readonly spanId: string
  readonly name: string
  readonly kind: number
  readonly status: { readonly code?: number; readonly message?: string }
  readonly attributes: Record<string, unknown>
  readonly events: readonly unknown[]
  readonly serviceName: unknown
}

export type Collector = AsyncDisposable & {
  /** Standard variables that turn tracing on and send spans soon. */
  readonly env: Record<string, string>
  /** Every body that was sent, unchanged. */
  readonly bodies: readonly string[]
  readonly paths: ReadonlySet<string>
  /** The number of connections so far. */
  connections(): number
  spans(): ReceivedSpan[]
}

/** Stands for a trace collector: OTLP over HTTP, in JSON, on loopback. */
export async function startCollector(): Promise<Collector> {
  const bodies: string[] = []
  const paths = new Set<string>()
  let connections = 0
  const receive = async (request: IncomingMessage, response: ServerResponse) => {
    paths.add(request.url ?? '')
    bodies.push(await text(request))
    response.setHeader('content-type', 'application/json').end('{}')
  }
  const server = createServer((request, response) => void receive(request, response))
  server.on('connection', () => connections++)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${address.port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_SERVICE_NAME: 'sign-in-of-a-test',
      OTEL_BSP_SCHEDULE_DELAY: '100',
    },
    bodies,
    paths,
    connections: () => connections,
    spans: () => bodies.flatMap((body) => spansIn(JSON.parse(body))),
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

type Attribute = { readonly key: string; readonly value: Record<string, unknown> }

function spansIn({ resourceSpans }: any): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }: any) =>
    scopeSpans.flatMap(({ spans }: any) =>
      spans.map((span: any) => ({
        ...span,
        attributes: plain(span.attributes),
        serviceName: plain(resource.attributes)['service.name'],
      })),
    ),
  )
}

function plain(attributes: readonly Attribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
}
