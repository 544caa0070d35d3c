import { EventEmitter, once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { startApp, type TestApp } from './app.ts'
import { freePort } from './server.ts'

export type AnswerFault =
  | { readonly kind: 'none' }
  /** The request does not reach the server. */
  | { readonly kind: 'drop-request' }
  /** The server answers, and the answer does not reach the client. */
  | { readonly kind: 'drop-answer' }
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'duplicate-request' }
  | { readonly kind: 'duplicate-answer' }
  /** Sends the head and half of the body. */
  | { readonly kind: 'truncate' }
  /** The proxy itself answers. */
  | {
      readonly kind: 'answer'
      readonly status: number
      readonly headers?: Record<string, string>
      readonly body: string
    }
  /** The request waits until `until` resolves, and then reaches the server. */
  | { readonly kind: 'hold-request'; readonly until: Promise<void> }
  /** The server answers, and the answer waits until `until` resolves. */
  | { readonly kind: 'hold'; readonly until: Promise<void> }

export type FaultyProxy = AsyncDisposable & {
  readonly url: string
  /** Called for each request; may be replaced at any time. */
  chooseFault: (path: string, method: string) => AnswerFault
  /** The address that the proxy says the next request comes from; null to say none. May be replaced. */
  chooseAddress: () => string | null
  /** The paths of all requests, in order. */
  readonly seen: string[]
}

export const noFault: AnswerFault = { kind: 'none' }

/** A fault that holds answers back until `release`, or the requests themselves. */
export function hold(kind: 'hold' | 'hold-request' = 'hold') {
  const opened = new EventEmitter()
  const until = once(opened, 'open').then(() => {})
  const fault: AnswerFault = { kind, until }
  return { fault, release: () => void opened.emit('open') }
}

/** The service behind a faulty proxy, whose address is its PUBLIC_URL. */
export async function startBehindProxy(
  options: { readonly consoleFolder?: string } = {},
  env: Record<string, string> = {},
): Promise<AsyncDisposable & { readonly app: TestApp; readonly proxy: FaultyProxy }> {
  const port = await freePort()
  const { consoleFolder } = options
  const app = await startApp(
    { PUBLIC_URL: `http://127.0.0.1:${port}`, ...env },
    consoleFolder === undefined ? {} : { consoleFolder },
  )
  const proxy = await startProxy(port, app.url)
  return {
    app,
    proxy,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await app[Symbol.asyncDispose]()
    },
  }
}

/** Starts a proxy to the server on this port of the loopback interface. */
export async function startProxy(port: number, upstream: string): Promise<FaultyProxy> {
  const seen: string[] = []
  const server = http.createServer((request, response) => {
    const path = request.url ?? ''
    seen.push(path)
    const address = proxy.chooseAddress()
    if (address !== null) request.headers['x-forwarded-for'] = address
    pass(request, response, {
      upstream,
      fault: proxy.chooseFault(path, request.method ?? ''),
    }).catch(() => request.socket.destroy())
  })
  const proxy: FaultyProxy = {
    url: `http://127.0.0.1:${port}`,
    chooseFault: () => noFault,
    chooseAddress: () => null,
    seen,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
    },
  }
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return proxy
}

type Forwarded = { status: number; headers: http.IncomingHttpHeaders; body: Buffer }

async function pass(
  request: IncomingMessage,
  response: ServerResponse,
  { upstream, fault }: { upstream: string; fault: AnswerFault },
): Promise<void> {
  const body = Buffer.concat(await request.toArray())
  if (fault.kind === 'drop-request') return void request.socket.destroy()
  if (fault.kind === 'answer')
    return void response.writeHead(fault.status, fault.headers).end(fault.body)

  if (fault.kind === 'hold-request') await fault.until
  const send = () => forward(request, body, upstream)
  const [answer] = await Promise.all(
    fault.kind === 'duplicate-request' ? [send(), send()] : [send()],
  )
  if (answer === undefined || fault.kind === 'drop-answer') return void request.socket.destroy()
  if (fault.kind === 'delay') await new Promise((resolve) => setTimeout(resolve, fault.ms))
  if (fault.kind === 'hold') await fault.until
  if (fault.kind === 'truncate') {
    response.writeHead(answer.status, answer.headers)
    response.write(answer.body.subarray(0, answer.body.length / 2))
    setImmediate(() => request.socket.destroy())
  } else if (fault.kind === 'duplicate-answer') {
    const raw = Buffer.concat([headOf(answer), answer.body])
    request.socket.end(Buffer.concat([raw, raw]))
  } else {
    response.writeHead(answer.status, answer.headers).end(answer.body)
  }
}

async function forward(
  request: IncomingMessage,
  body: Buffer,
  upstream: string,
): Promise<Forwarded> {
  const out = http.request(new URL(request.url ?? '', upstream), {
    method: request.method,
    headers: request.headers,
  })
  out.end(body)
  const [answer] = (await once(out, 'response')) as [IncomingMessage]
  const { 'transfer-encoding': _, ...headers } = answer.headers
  const whole = Buffer.concat(await answer.toArray())
  return {
    status: answer.statusCode ?? 502,
    headers: { ...headers, 'content-length': String(whole.length) },
    body: whole,
  }
}

function headOf(answer: Forwarded): Buffer {
  const lines = Object.entries(answer.headers).flatMap(([name, value]) =>
    [value ?? []].flat().map((one) => `${name}: ${one}`),
  )
  return Buffer.from(`HTTP/1.1 ${answer.status} OK\r\n${lines.join('\r\n')}\r\n\r\n`)
}

/** A random number generator that repeats its numbers for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** One request in four meets a fault. */
export function randomFault(random: () => number): AnswerFault {
  const roll = random()
  if (roll < 0.04) return { kind: 'drop-request' }
  if (roll < 0.09) return { kind: 'drop-answer' }
  if (roll < 0.14) return { kind: 'delay', ms: 20 + random() * 600 }
  if (roll < 0.18) return { kind: 'duplicate-request' }
  if (roll < 0.21) return { kind: 'duplicate-answer' }
  if (roll < 0.25) return { kind: 'truncate' }
  return noFault
}
