import { connect, type Socket } from 'node:net'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import {
  exchanges,
  readToken,
  type Exchange,
  type Job,
  type JobResult,
  type BenchSession,
} from './load.ts'
import { answerCalls } from '../support/child.ts'
import { summarize } from './statistics.ts'

// The load generator. It uses raw sockets, because an HTTP client would need as much CPU as the server.

const fleets = new Map<string, BenchSession[]>()

answerCalls({
  enlist: ({ fleet, sessions }: { fleet: string; sessions: BenchSession[] }) =>
    void fleets.set(fleet, sessions),
  run,
  checkAccessTokens,
  held: (fleet: string) =>
    fleets.get(fleet)!.map(({ familyId, token }) => ({
      familyId,
      generation: readToken(token).generation,
    })),
})

/** Runs connections that send, wait, check the answer and send again; each has sessions of its own. */
async function run(job: Job): Promise<JobResult> {
  const fleet = fleets.get(job.fleet) ?? []
  const exchange = exchanges[job.kind]
  const latencies: number[] = []
  const clients = Array.from({ length: job.connections }, (_, i) =>
    createClient(job.url, exchange, {
      sessions: fleet.filter((_session, at) => at % job.connections === i),
      latencies,
    }),
  )
  await Promise.all(clients.map((client) => client.connected))
  const startedAt = performance.now()
  const deadlineAt = startedAt + job.seconds * 1000
  const most = job.count ?? Infinity
  const mayGoOn = () => performance.now() < deadlineAt && latencies.length < most
  await Promise.all(clients.map((client) => client.work(mayGoOn)))
  const seconds = (performance.now() - startedAt) / 1000
  if (!exchange.isRepeatable)
    fleets.set(
      job.fleet,
      clients.flatMap((client) => client.sessions),
    )
  return summarize(latencies, seconds)
}

function createClient(
  url: string,
  exchange: Exchange,
  { sessions, latencies }: { sessions: BenchSession[]; latencies: number[] },
) {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), noDelay: true })
  const connected = new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve).once('error', reject)
  })
  const exchangeOnce = exchanging(socket)
  let turn = 0

  async function work(mayGoOn: () => boolean): Promise<void> {
    while (mayGoOn() && sessions.length > 0) {
      const session = exchange.isRepeatable ? sessions[turn++ % sessions.length]! : sessions.pop()!
      const sentAt = performance.now()
      const answer = await exchangeOnce(exchange.request(session, url))
      latencies.push(performance.now() - sentAt)
      exchange.accept(session, answer)
    }
    socket.destroy()
  }

  return { connected, work, sessions }
}

type Answer = { status: number; head: string; body: string }

/** Sends one request at a time on a socket. */
function exchanging(socket: Socket): (request: string) => Promise<Answer> {
  let text = ''
  let waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | null = null
  const fail = (error: Error) => waiting?.reject(error)
  socket.setEncoding('latin1')
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('the server closed the connection')))
  socket.on('data', (chunk: string) => {
    text += chunk
    const headEnd = text.indexOf('\r\n\r\n')
    if (headEnd === -1) return
    const head = text.slice(0, headEnd)
    const rest = text.slice(headEnd + 4)
    const body = /transfer-encoding: chunked/i.test(head)
      ? chunkedBody(rest)
      : sizedBody(head, rest)
    if (body === null) return
    text = ''
    waiting?.resolve({ status: Number(head.slice(9, 12)), head, body })
  })
  return (request) =>
    new Promise((resolve, reject) => {
      waiting = { resolve, reject }
      socket.write(request)
    })
}

/** The body; null while it is incomplete. */
function sizedBody(head: string, rest: string): string | null {
  const length = Number(/content-length: (\d+)/i.exec(head)![1])
  return rest.length < length ? null : rest.slice(0, length)
}

function chunkedBody(rest: string): string | null {
  let body = ''
  for (let at = 0; ;) {
    const lineEnd = rest.indexOf('\r\n', at)
    const length = Number.parseInt(rest.slice(at, lineEnd), 16)
    if (lineEnd === -1 || rest.length < lineEnd + length + 4) return null
    if (length === 0) return body
    body += rest.slice(lineEnd + 2, lineEnd + 2 + length)
    at = lineEnd + length + 4
  }
}

/** Verifies the newest access token of every client, because a fast answer may still be wrong. */
async function checkAccessTokens({ fleet, url }: { fleet: string; url: string }): Promise<number> {
  const keys = createRemoteJWKSet(new URL(`${url}/.well-known/jwks.json`))
  const used = (fleets.get(fleet) ?? []).filter(({ accessToken }) => accessToken !== undefined)
  for (const { accessToken, familyId, userId } of used) {
    const { payload } = await jwtVerify(accessToken!, keys, { issuer: url, typ: 'at+jwt' })
    if (payload.sid !== familyId || payload.sub !== userId)
      throw new Error(`an access token of family ${familyId} is not its own`)
  }
  return used.length
}
