import { connect } from 'node:net'
import fastify from 'fastify'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { abortedWithout } from '../../server/http/direct-calls.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { raw, type RawAnswer } from '../support/raw-http.ts'
import { signIn, type BodySession } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

/*
 * Plain calls are answered without tRPC's handler. Nothing of an answer may show which of the two made it. A parameter
 * `connectionParams`, which means nothing for these procedures, sends a request through the handler.
 */

let app: TestApp
let user: BodySession
let admin: BodySession
beforeAll(async () => {
  app = await startApp()
  user = await signIn(app)
  const { email } = await makeUser(app.owner.url)
  await app.owner
    .ownerSql`update token_ledger.user_account set role = 'admin' where email = ${email}`
  admin = await signIn(app, email)
})
afterAll(() => app[Symbol.asyncDispose]())

type Call = {
  readonly what: string
  readonly path: string
  readonly query?: string
  /** Makes it a POST. */
  readonly body?: string
  readonly method?: string
  readonly headers?: Record<string, string | string[]>
  readonly as?: 'admin' | 'none'
}

const input = (value: unknown) => `input=${encodeURIComponent(JSON.stringify(value))}`
const unknownId = '01990000-0000-7000-8000-000000000000'
const ten = 'me,me,me,me,sessions.list,me,me,me,me,me'
const json = { 'content-type': 'application/json' }

const calls: Call[] = [
  { what: 'a query without an input', path: 'me' },
  { what: 'an empty input', path: 'me', query: 'input=' },
  { what: 'an input that is ignored', path: 'me', query: input({ a: 1 }) },
  { what: 'an input', path: 'sessions.list', query: input({ limit: 1 }) },
  { what: 'null as the input', path: 'sessions.list', query: input(null) },
  { what: 'two inputs', path: 'sessions.list', query: `${input({ limit: 1 })}&${input({})}` },
  { what: 'an input that does not fit', path: 'sessions.list', query: input({ limit: 0 }) },
  { what: 'an input that is not JSON', path: 'sessions.list', query: 'input=%7B' },
  { what: 'an input that ends in half a character', path: 'sessions.list', query: 'input=%E2%82' },
  { what: 'an input with plus signs', path: 'sessions.list', query: 'input=%7B+%7D' },
  {
    what: 'a key of prototypes in the input',
    path: 'sessions.list',
    query: `input=${encodeURIComponent('{"__proto__":{"limit":1}}')}`,
  },
  { what: 'a constructor in the input', path: 'sessions.list', query: input({ constructor: 1 }) },
  { what: 'prototypes as a name', path: '__proto__' },
  { what: 'a method of objects as a name', path: 'toString' },
  { what: 'an escaped name', path: '%6De' },
  { what: 'a name that is escaped twice', path: '%256De' },
  { what: 'an unknown name', path: 'sessions.unknown' },
  { what: 'a batch of one', path: 'me', query: 'batch=1' },
  {
    what: 'a batch of two',
    path: 'me,sessions.list',
    query: `batch=1&${input({ 1: { limit: 1 } })}`,
  },
  { what: 'a batch of ten', path: ten, query: 'batch=1' },
  {
    what: 'an error in one of ten calls',
    path: ten,
    query: `batch=1&${input({ 4: { limit: 0 } })}`,
  },
  {
    what: 'the same error in both calls',
    path: 'sessions.list,sessions.list',
    query: `batch=1&${input({ 0: { limit: 0 }, 1: { limit: 0 } })}`,
  },
  { what: 'a batch of eleven', path: `${ten},me`, query: 'batch=1' },
  { what: 'a batch with an array as the input', path: 'me,me', query: `batch=1&${input([{}])}` },
  { what: 'a batch with null as the input', path: 'me,me', query: `batch=1&${input(null)}` },
  {
    what: 'a batch with prototypes in its input',
    path: 'me,sessions.list',
    query: `batch=1&input=${encodeURIComponent('{"__proto__":{"1":{"limit":0}}}')}`,
  },
  { what: 'a batch with an unknown call', path: 'me,unknown', query: 'batch=1' },
  { what: 'a batch of a query and a mutation', path: 'me,sessions.revokeOthers', query: 'batch=1' },
  { what: 'a batch by another number', path: 'me', query: 'batch=2' },
  { what: 'two values of batch', path: 'me', query: 'batch=1&batch=2' },
  {
    what: 'a stream of a batch',
    path: 'me',
    query: 'batch=1',
    headers: { 'trpc-accept': 'application/jsonl' },
  },
  { what: 'a stream of one call', path: 'me', headers: { accept: 'text/html, application/jsonl' } },
  { what: 'an Accept header', path: 'me', headers: { accept: 'text/html' } },
  { what: 'a content type of a query', path: 'me', headers: { 'content-type': 'text/plain' } },
  { what: 'a form as a query', path: 'me', headers: { 'content-type': 'multipart/form-data' } },
  { what: 'HEAD', path: 'me', method: 'HEAD' },
  { what: 'a query by POST', path: 'me', body: '{}', headers: json },
  { what: 'a mutation by GET', path: 'sessions.revokeOthers' },
  {
    what: 'a mutation',
    path: 'sessions.revoke',
    body: JSON.stringify({ familyId: unknownId }),
    headers: json,
  },
  {
    what: 'a mutation with a charset',
    path: 'sessions.revoke',
    body: JSON.stringify({ familyId: unknownId }),
    headers: { 'content-type': 'Application/JSON; charset=utf-8' },
  },
  { what: 'a mutation without an input', path: 'sessions.revokeOthers', body: '', headers: json },
  { what: 'a mutation without a content type', path: 'sessions.revokeOthers', method: 'POST' },
  { what: 'a mutation whose input is not JSON', path: 'sessions.revoke', body: '{', headers: json },
  {
    what: 'a mutation with a byte order mark',
    path: 'sessions.revoke',
    body: `\uFEFF${JSON.stringify({ familyId: unknownId })}`,
    headers: json,
  },
  {
    what: 'a batch of mutations, one of which does not fit',
    path: 'sessions.revoke,sessions.revoke',
    query: 'batch=1',
    body: JSON.stringify({ 0: { familyId: unknownId }, 1: { familyId: 1 } }),
    headers: json,
  },
  {
    what: 'a wrong password',
    path: 'account.changePassword',
    headers: json,
    body: JSON.stringify({
      currentPassword: 'wrong horse, wrong staple',
      newPassword: 'another horse, another staple',
    }),
  },
  {
    what: 'a list for admins',
    path: 'admin.sessions.list',
    query: input({ limit: 1 }),
    as: 'admin',
  },
  { what: 'a call for admins by a user', path: 'admin.sessions.list' },
  {
    what: 'an unknown session',
    path: 'admin.sessions.get',
    query: input({ familyId: unknownId }),
    as: 'admin',
  },
  { what: 'no token', path: 'me', as: 'none' },
  { what: 'no token for a batch', path: 'me,me', query: 'batch=1', as: 'none' },
  { what: 'a wrong token', path: 'me', headers: { authorization: 'Bearer x' } },
  {
    what: 'two Authorization headers',
    path: 'me',
    headers: { authorization: ['Bearer x', 'Bearer y'] },
  },
  { what: 'an allowed origin', path: 'me', headers: { origin: 'OWN' } },
  { what: 'another origin', path: 'sessions.list', headers: { origin: 'https://other.example' } },
  { what: 'an odd host', path: 'me', headers: { host: '[::1' } },
  { what: 'a host that is no address', path: 'me', headers: { host: '1.2.3.999' } },
]

test.each(calls)("$what: the answer of tRPC's handler, byte for byte", async (call) => {
  const direct = await ask(call)
  expect(direct).toEqual(await ask(call, '&connectionParams=%7B%7D'))
  expect(recordable(direct)).toMatchSnapshot()
})

test('a request target with the scheme and the host is answered as one without them', async () => {
  const answer = await onWire(
    `GET ${app.url}/trpc/me HTTP/1.1\r\nhost: ${new URL(app.url).host}\r\n` +
      `authorization: Bearer ${user.accessToken}\r\nconnection: close\r\n\r\n`,
  )
  expect(answer).toMatch(/^HTTP\/1\.1 200 /)
})

test('a client that leaves in the middle of a batch leaves nothing behind', async () => {
  const holder = await app.owner.ownerSql.reserve()
  await holder`begin`
  await holder`lock table token_ledger.open_family in access exclusive mode`
  const socket = connect(Number(new URL(app.url).port), '127.0.0.1')
  socket.write(
    `GET /trpc/${ten}?batch=1 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${user.accessToken}\r\n\r\n`,
  )
  await waitFor(async () => (await waiting()) > 0)
  socket.destroy()
  await holder`commit`
  holder.release()
  await waitFor(async () => (await waiting()) === 0)
  expect((await ask({ what: '', path: 'sessions.list' })).status).toBe(200)
})

test.each([
  ['closed by the client before the answer', false, true],
  ['answered', true, false],
])(
  'the signal of a call whose connection is %s is aborted: %s',
  async (_how, isAnswered, isAborted) => {
    const server = fastify()
    let signal: AbortSignal | null = null
    let isClosed = false
    server.get('/', (_request, reply) => {
      signal = abortedWithout(reply)
      reply.raw.once('close', () => (isClosed = true))
      if (isAnswered) void reply.send('done')
    })
    await server.listen({ host: '127.0.0.1', port: 0 })
    const { port } = server.server.address() as { port: number }
    const socket = connect(port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')
    await waitFor(() => signal !== null)
    if (!isAnswered) socket.destroy()
    await waitFor(() => isClosed)
    expect(signal!.aborted).toBe(isAborted)
    await server.close()
  },
)

async function waiting(): Promise<number> {
  const rows = await app.owner.ownerSql`
    select from pg_locks
    where not granted and database = (select oid from pg_database where datname = current_database())`
  return rows.length
}

async function ask(
  { path, query = '', body, method, headers, as }: Call,
  more = '',
): Promise<RawAnswer> {
  const { accessToken } = as === 'admin' ? admin : user
  const sent: Record<string, string | string[]> = {
    ...(as !== 'none' && { authorization: `Bearer ${accessToken}` }),
    ...headers,
  }
  if (sent['origin'] === 'OWN') sent['origin'] = app.url
  const answer = await raw(`${app.url}/trpc/${path}?${query}${more}`, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: sent,
    ...(body !== undefined && { body }),
  })
  return { ...answer, headers: withoutFraming(answer.headers) }
}

/** Without the date, and without what says how the body is sent. */
function withoutFraming(headers: RawAnswer['headers']): RawAnswer['headers'] {
  const framing = new Set([
    'date',
    'connection',
    'keep-alive',
    'content-length',
    'transfer-encoding',
  ])
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !framing.has(name)))
}

/** The headers that belong to the call and not to every answer of the service. */
const headersOfCalls = new Set([
  'allow',
  'cache-control',
  'content-type',
  'retry-after',
  'vary',
  'www-authenticate',
])

/** Without what each run makes anew. */
function recordable({ status, headers, text }: RawAnswer): string {
  const own = Object.entries(headers).filter(([name]) => headersOfCalls.has(name))
  return `${JSON.stringify({ status, headers: Object.fromEntries(own) })}\n${text}`
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f-]{17}/g, 'FAMILY')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'USER')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'INSTANT')
    .replaceAll(/user-[\w-]+@example/g, 'user@example')
}

function onWire(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const socket = connect(Number(new URL(app.url).port), '127.0.0.1', () => socket.write(text))
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('close', () => resolve(Buffer.concat(chunks).toString()))
    socket.on('error', reject)
  })
}
