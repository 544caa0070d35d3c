import { connect, type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { oneAtATimePerConnection } from '../../server/http/pipelining.ts'

let app: FastifyInstance
/** What happened, in order: `+name` for a request that began, `-name` for one that was answered. */
let log: string[]

beforeEach(async () => {
  log = []
  app = fastify()
  app.addHook('onRequest', oneAtATimePerConnection)
  app.post<{ Params: { name: string } }>('/:name', async ({ params: { name } }) => {
    log.push(`+${name}`)
    // A flood is answered without waiting for anything.
    if (name !== 'flood') await sleep(1)
    log.push(`-${name}`)
    return name
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
})
afterEach(() => app.close())

/** Sends all requests in one packet, without waiting for an answer. */
function pipelined(names: readonly string[]) {
  const { port } = app.server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1')
  const requests = names.map((name, i) => {
    const connection = i === names.length - 1 ? 'connection: close\r\n' : ''
    return `POST /${name} HTTP/1.1\r\nhost: a\r\n${connection}content-length: 0\r\n\r\n`
  })
  socket.write(requests.join(''))
  return { socket, answer: text(socket) }
}

test('RFC 9112 §9.3.2: the requests of one connection are carried out one after the other and answered in their order', async () => {
  const names = Array.from({ length: 50 }, (_, i) => `r${i}`)
  const answer = await pipelined(names).answer
  expect(log).toEqual(names.flatMap((name) => [`+${name}`, `-${name}`]))
  expect(Array.from(answer.matchAll(/\r\n\r\n(r\d+)/g), ([, name]) => name)).toEqual(names)
})

test('HT-02: requests of other connections come in between', async () => {
  const flood = pipelined(Array.from({ length: 100 }, () => 'flood'))
  const other = pipelined(['other'])
  await Promise.all([flood.answer, other.answer])
  const isBefore = log.slice(0, log.indexOf('+other')).filter((line) => line === '+flood')
  expect(isBefore.length).toBeLessThan(50)
  expect(log.filter((line) => line === '-flood')).toHaveLength(100)
})

test('of a connection that closes, the requests that wait are not carried out', async () => {
  const { socket, answer } = pipelined(Array.from({ length: 100 }, (_, i) => `r${i}`))
  socket.once('data', () => socket.destroy())
  await answer.catch(() => {})
  await pipelined(['after']).answer
  await sleep(50)
  expect(log).not.toContain('+r99')
  expect(log).toContain('-after')
})

test('HT-04: a connection that sends thousands of requests ahead of their answers is closed, and holds no memory', async () => {
  const { socket, answer } = pipelined(Array.from({ length: 5_000 }, (_, i) => `r${i}`))
  socket.on('error', () => {})
  await answer.catch(() => {})
  await pipelined(['after']).answer
  expect(log).toContain('-after')
  expect(log.filter((line) => line.startsWith('+r')).length).toBeLessThan(200)
})
