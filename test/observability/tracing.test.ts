import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCollector, type Collector } from '../support/collector.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { feedToken, readFeed } from '../support/feed.ts'
import { auth, mutate, query, refreshCookieIn } from '../support/http.ts'
import { freePort, startServer, testSecret, type ServerProcess } from '../support/server.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'

const serverKind = 2
const errorStatus = 2
const status = 'http.response.status_code'

const newTrace = () => {
  const traceId = randomBytes(16).toString('hex')
  const spanId = randomBytes(8).toString('hex')
  return { traceId, spanId, headers: { traceparent: `00-${traceId}-${spanId}-01` } }
}

const named = (collector: Collector, name: string) =>
  collector.spans().filter((span) => span.name === name)

const loggedEvents = (service: ServerProcess): Record<string, string>[] =>
  service
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{') && line.includes('"event"'))
    .map((line) => JSON.parse(line))

let database: FreshDatabase
let collector: Collector
let service: ServerProcess
beforeAll(async () => {
  database = await freshDatabase()
  collector = await startCollector()
  service = await startServer(database.url, {
    ...collector.env,
    ROTATION_GRACE_SECONDS: '0',
    REVOCATIONS_TOKEN: feedToken,
  })
})
afterAll(async () => {
  await service[Symbol.asyncDispose]()
  await collector[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

test('a request is a span of the trace that its caller began, or of a new one', async () => {
  const email = 'ada@example.com'
  await makeUser(database.url, email)
  const callers = newTrace()

  const { refreshToken, accessToken } = (
    await auth(
      service.url,
      'login',
      { email, password: testPassword, transport: 'body' },
      callers.headers,
    )
  ).data
  await auth(service.url, 'refresh', { refreshToken }, callers.headers)
  await query(service.url, 'sessions.list', accessToken)
  await query(service.url, 'me,sessions.list?batch=1', accessToken)
  await mutate(service.url, 'sessions.revokeOthers', accessToken)
  await fetch(`${service.url}/nothing/of/ours`)

  const names = () =>
    collector
      .spans()
      .map(({ name }) => name)
      .toSorted()
  await expect
    .poll(names)
    .toEqual([
      'GET',
      'GET /trpc/:path',
      'GET /trpc/sessions.list',
      'POST /auth/login',
      'POST /auth/refresh',
      'POST /trpc/sessions.revokeOthers',
    ])
  expect([...collector.paths]).toEqual(['/v1/traces'])
  const [list, login, refresh] = [
    'GET /trpc/sessions.list',
    'POST /auth/login',
    'POST /auth/refresh',
  ].map((name) => named(collector, name)[0]!)
  expect(login).toMatchObject({
    kind: serverKind,
    traceId: callers.traceId,
    parentSpanId: callers.spanId,
    serviceName: 'sign-in-of-a-test',
    attributes: {
      'http.request.method': 'POST',
      'http.route': '/auth/login',
      [status]: 200,
    },
  })
  expect(refresh).toMatchObject({ traceId: callers.traceId, parentSpanId: callers.spanId })
  expect(list!.traceId).not.toBe(callers.traceId)
  expect(list!.parentSpanId ?? '').toBe('')
  const [lost] = named(collector, 'GET')
  expect(lost!.attributes).toEqual({ 'http.request.method': 'GET', [status]: 404 })
})

test('a stream is a span that ends when its client has gone, and probes have no span', async () => {
  // The test before has waited for all of its spans.
  const before = collector.spans().length
  const spans = () => collector.spans().slice(before)
  for (const probe of ['/healthz', '/readyz', '/metrics'])
    expect((await fetch(service.url + probe)).status).toBe(200)
  for await (const _message of readFeed(service.url)) break
  await expect.poll(spans).toHaveLength(1)
  await fetch(`${service.url}/revocations`)
  await expect
    .poll(() => spans().map(({ name, attributes }) => [name, attributes[status]]))
    .toEqual([
      ['GET /revocations', 200],
      ['GET /revocations', 401],
    ])
})

test('a log line names the trace of its own request, also for refreshes that share a transaction', async () => {
  const app = { url: service.url, owner: database }
  const spent: { familyId: string; refreshToken: string }[] = []
  for (let i = 0; i < 12; i++) {
    const session = await signIn(app)
    await auth(service.url, 'refresh', { refreshToken: session.refreshToken })
    spent.push(session)
  }

  const traces = new Map(spent.map(({ familyId }) => [familyId, newTrace()]))
  await Promise.all(
    spent.map(({ familyId, refreshToken }) =>
      auth(service.url, 'refresh', { refreshToken }, traces.get(familyId)!.headers),
    ),
  )
  const reuses = () => loggedEvents(service).filter(({ event }) => event === 'reuse_detected')
  await expect.poll(reuses).toHaveLength(12)
  for (const { familyId, trace_id, span_id } of reuses()) {
    const { traceId } = traces.get(familyId!)!
    expect(trace_id).toBe(traceId)
    await expect
      .poll(() => collector.spans().find((span) => span.traceId === traceId)?.spanId)
      .toBe(span_id)
  }
})

test('a log line names its trace also when the body came long after the headers', async () => {
  const callers = newTrace()
  const body = new ReadableStream({
    async start(late) {
      late.enqueue(Buffer.from('{"email":"nobody@example.com",'))
      await sleep(200)
      late.enqueue(Buffer.from('"password":"not the one of anybody"}'))
      late.close()
    },
  })
  const answer = await fetch(`${service.url}/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...callers.headers },
    body,
    duplex: 'half',
  } as RequestInit)
  expect(answer.status).toBe(401)
  const refusals = () => loggedEvents(service).filter(({ event }) => event === 'sign_in_refused')
  await expect.poll(refusals).toMatchObject([{ trace_id: callers.traceId }])
})

test('LG-01 (ASVS 16.2.5): no span holds anything that a caller wrote, whatever goes wrong', async () => {
  await using own = await freshDatabase()
  await using collected = await startCollector()
  const metricsToken = 'a-token-for-the-metrics'
  await using traced = await startServer(own.url, {
    ...collected.env,
    METRICS_TOKEN: metricsToken,
    REVOCATIONS_TOKEN: feedToken,
    // No span says where the service runs, either.
    OTEL_NODE_RESOURCE_DETECTORS: 'env,host,process',
  })
  const secrets = new Set([metricsToken, feedToken, testSecret, own.url])
  const plant = (what: string) => {
    const secret = `${what}-${randomBytes(6).toString('hex')}`
    secrets.add(secret)
    return secret
  }
  const email = `${plant('somebody')}@example.com`
  const password = plant('a-password')
  const account = { email, password }
  const headers = { 'user-agent': plant('an-agent'), 'x-forwarded-for': plant('an-address') }

  const registered = await auth(traced.url, 'register', account, headers)
  const cookie = refreshCookieIn(registered)!
  const session = (await auth(traced.url, 'login', { ...account, transport: 'body' }, headers)).data
  const { accessToken, refreshToken } = session
  for (const token of [cookie, accessToken, refreshToken, registered.data.accessToken])
    secrets.add(token)
  const attemptId = randomUUID()
  secrets.add(attemptId)
  const next = (await auth(traced.url, 'refresh', { refreshToken, attemptId })).data
  secrets.add(next.refreshToken)
  await auth(traced.url, 'login', { email, password: plant('a-wrong-password') })
  await auth(traced.url, 'refresh', {}, { cookie: `refresh_token=${cookie}`, origin: traced.url })
  await auth(traced.url, plant('procedure'), {})
  await query(traced.url, 'me', plant('a-bearer'))
  await query(traced.url, 'me', accessToken, { email: plant('an-input') })
  await query(traced.url, plant('query'), accessToken)
  const change = { currentPassword: plant('a-guess'), newPassword: plant('a-new-password') }
  await mutate(traced.url, 'account.changePassword', accessToken, change)
  for (const path of [
    `/auth/refresh?refreshToken=${refreshToken}`,
    `/trpc/me?connectionParams=${accessToken}`,
    `/${plant('a-path')}?token=${refreshToken}`,
    `/%zz${plant('a-path-that-is-none')}?token=${refreshToken}`,
    `/trpc/${plant('too-long').repeat(50)}`,
  ])
    await fetch(traced.url + path, { headers })
  // Node's error quotes the body.
  const broken = { method: 'POST', body: `{"password":"${password}",` }
  for (const path of ['/auth/login', '/trpc/account.changePassword'])
    await fetch(traced.url + path, { ...broken, headers: { 'content-type': 'application/json' } })
  await fetch(`${traced.url}/metrics`, { headers: { authorization: `Bearer ${metricsToken}` } })
  // Postgres quotes the row.
  await own.ownerSql.unsafe(`
    create function public.refuse() returns trigger language plpgsql as $$
    begin
      raise exception 'no: %', new;
    end $$;
    create trigger a_refuse before insert on token_ledger.user_account
    for each row execute function public.refuse()`)
  const other = { email: `${plant('other')}@example.com`, password }
  expect((await auth(traced.url, 'register', other)).reason).toBe('internal_error')

  await expect.poll(() => named(collected, 'POST /auth/register')).toHaveLength(2)
  expect(named(collected, 'POST /auth/register')[1]).toMatchObject({
    status: { code: errorStatus },
    attributes: { [status]: 500 },
  })
  expect(collected.spans().length).toBeGreaterThanOrEqual(15)
  const sent = collected.bodies.join('\n').toLowerCase()
  expect([...secrets].filter((secret) => sent.includes(secret.toLowerCase()))).toEqual([])
  for (const { attributes, events, status: outcome } of collected.spans()) {
    expect(attributes).toEqual({
      'http.request.method': expect.stringMatching(/^(GET|POST)$/),
      ...('http.route' in attributes && { 'http.route': attributes['http.route'] }),
      [status]: expect.any(Number),
    })
    expect(events).toEqual([])
    expect(outcome.message ?? '').toBe('')
  }
})

describe('whether the SDK of OpenTelemetry is loaded', () => {
  const say = `import { createRequire } from 'node:module'
    const { cache } = createRequire('/')
    process.on('exit', () => console.error('sdk files:', Object.keys(cache).filter((file) => file.includes('@opentelemetry/sdk')).length))`
  const preload = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(say)}` }

  async function loaded(env: Record<string, string>): Promise<number> {
    await using started = await startServer(database.url, { ...preload, ...env })
    await signIn({ url: started.url, owner: database })
    expect(await started.kill('SIGTERM')).toBe(0)
    await expect.poll(() => started.output()).toMatch(/sdk files: \d/)
    return Number(/sdk files: (\d+)/.exec(started.output())![1])
  }

  test.each<[string, Record<string, string>]>([
    ['OTEL_SDK_DISABLED=true', { OTEL_SDK_DISABLED: 'true' }],
    ['an empty OTEL_EXPORTER_OTLP_ENDPOINT', { OTEL_EXPORTER_OTLP_ENDPOINT: '' }],
  ])('with %s no SDK is loaded and no collector is called', async (_what, off) => {
    await using collected = await startCollector()
    expect(await loaded({ ...collected.env, ...off })).toBe(0)
    expect(collected.connections()).toBe(0)
  })

  test('with tracing it is, and spans in progress at the stop are sent', async () => {
    await using collected = await startCollector()
    const env = { ...collected.env, OTEL_BSP_SCHEDULE_DELAY: '60000' }
    expect(await loaded(env)).toBeGreaterThan(0)
    expect(named(collected, 'POST /auth/login')).toHaveLength(1)
  })
})

test.each(['away', 'silent'])(
  'a collector that is %s delays neither callers nor the stop of the service',
  async (fault) => {
    await using silent = await startSilentServer()
    const port = fault === 'silent' ? silent.port : await freePort()
    await using traced = await startServer(database.url, {
      OTEL_TRACES_EXPORTER: 'otlp',
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_BSP_SCHEDULE_DELAY: '10',
    })
    const { refreshToken } = await signIn({ url: traced.url, owner: database })
    expect((await auth(traced.url, 'refresh', { refreshToken })).status).toBe(200)
    expect(await traced.kill('SIGTERM')).toBe(0)
  },
)

/** Accepts connections and never answers. */
async function startSilentServer() {
  const sockets: Socket[] = []
  const server = createServer((socket) => sockets.push(socket.on('error', () => {})))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}
