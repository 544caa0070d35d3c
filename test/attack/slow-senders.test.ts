import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { attackedServer } from '../support/attacked-server.ts'
import { freshDatabase } from '../support/database.ts'
import { startServer } from '../support/server.ts'

const attacked = attackedServer()

/** `requestTimeout` is 15 s and is checked once a second; this leaves plenty of room. */
const maxOpenMs = 45_000

/** Sends the beginning, then a byte of the rest at a time, until the server hangs up. */
async function drip(
  url: string,
  begin: string,
  rest: string,
): Promise<{ answer: string; ms: number }> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  let answer = ''
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
  socket.on('error', () => {})
  await once(socket, 'connect')
  const began = performance.now()
  socket.write(begin)
  const closed = once(socket, 'close')
  for (let i = 0; !socket.destroyed && performance.now() - began < maxOpenMs; i++) {
    if (rest !== '') socket.write(rest[i % rest.length]!)
    await Promise.race([closed, sleep(250)])
  }
  socket.destroy()
  return { answer, ms: performance.now() - began }
}

const line = 'POST /auth/login HTTP/1.1\r\nhost: a\r\n'
const drips: [string, string, string][] = [
  ['headers', line, 'x-a: b\r\n'],
  ['one header without an end', `${line}x: `, 'a'],
  ['the request line', 'POST /auth/', 'a'],
  ['a body', `${line}content-type: application/json\r\ncontent-length: 10000\r\n\r\n`, ' '],
  [
    'chunks',
    `${line}content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`,
    '1\r\n \r\n',
  ],
  [
    'nothing at all after the headers',
    `${line}content-type: application/json\r\ncontent-length: 9\r\n\r\n`,
    '',
  ],
]

describe.concurrent(
  'HT-02 (ASVS 13.2.6, 15.4.4): a client that sends slowly is answered 408 and cut off, and delays no other client',
  () => {
    test('all kinds of slow senders at once', { timeout: 2 * maxOpenMs }, async () => {
      const ended = Promise.all(
        drips.map(async ([what, begin, rest]) => ({
          what,
          ...(await drip(attacked.url, begin, rest)),
        })),
      )
      let others = 0
      const isOver = ended.then(() => true)
      while (!(await Promise.race([isOver, sleep(500, false)]))) {
        expect((await attacked.request('/auth/refresh', { json: {} })).status).toBe(401)
        others += 1
      }
      expect(others).toBeGreaterThan(5)
      for (const { what, answer, ms } of await ended) {
        expect([what, ms < maxOpenMs]).toEqual([what, true])
        expect([what, answer]).toEqual([what, expect.stringMatching(/^HTTP\/1\.1 408 /)])
        expect(answer).toMatch(/"reason":"validation_failed"/)
        expect(answer).toMatch(/cache-control: no-store/)
      }
    })
  },
)

test.concurrent('HT-03: fifty slow senders do not delay a server that is stopping', async () => {
  await using database = await freshDatabase()
  const server = await startServer(database.url)
  const { hostname, port } = new URL(server.url)
  const sockets: Socket[] = []
  for (let i = 0; i < 50; i++) {
    const [, begin] = drips[i % drips.length]!
    const socket = connect(Number(port), hostname)
    socket.on('error', () => {})
    await once(socket, 'connect')
    socket.write(begin)
    sockets.push(socket)
  }
  const began = performance.now()
  expect(await server.kill('SIGTERM')).toBe(0)
  // Less than the ten seconds after which the process would exit by force, with code 1.
  expect(performance.now() - began).toBeLessThan(9_500)
  for (const socket of sockets) socket.destroy()
})
