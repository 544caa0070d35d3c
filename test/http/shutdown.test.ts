import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { startApp } from '../support/app.ts'
import { freshDatabase } from '../support/database.ts'
import { startServer } from '../support/server.ts'
import { waitFor } from '../support/wait.ts'

// The first waits for five seconds.
test.concurrent('HT-03: a silent connection does not delay a server that is stopping', async () => {
  await using database = await freshDatabase()
  const server = await startServer(database.url)
  const { hostname, port } = new URL(server.url)
  const spare = connect(Number(port), hostname)
  spare.on('error', () => {})
  await once(spare, 'connect')
  const began = performance.now()
  expect(await server.kill('SIGTERM')).toBe(0)
  expect(performance.now() - began).toBeLessThan(9_000)
  spare.destroy()
})

test.concurrent('an error of the driver during a stop is not logged as fatal', async () => {
  await using database = await freshDatabase()
  const thrower = `process.on('SIGTERM', () => setImmediate(() => { throw new TypeError('late') }))`
  const server = await startServer(database.url, {
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(thrower)}`,
    LOG_LEVEL: 'debug',
  })
  expect(await server.kill('SIGTERM')).toBe(0)
  expect(server.output()).toContain('exception while stopping')
  expect(server.output()).not.toMatch(/"level":(50|60)/)
})

test.concurrent(
  'a request on an open connection of a service that stops is answered 503 in the envelope, with Retry-After',
  async () => {
    await using app = await startApp({ ALLOWED_ORIGINS: 'https://app.example.com' })
    const { hostname, port } = new URL(app.url)
    const client = connect(Number(port), hostname)
    let received = ''
    client.on('data', (chunk: Buffer) => (received += chunk.toString()))
    const post = (path: string, length: number) =>
      `POST ${path} HTTP/1.1\r\nhost: x\r\norigin: https://app.example.com\r\n` +
      `content-type: application/json\r\ncontent-length: ${length}\r\n\r\n`
    // Its body is still to come when the service begins to stop: the connection is in use.
    client.write(post('/auth/logout', 2))
    const connections = () =>
      new Promise<number>((resolve) => app.app.server.getConnections((_error, n) => resolve(n)))
    await waitFor(async () => (await connections()) === 1)
    await fetch(`${app.url}/healthz`)
    const closing = app.app.close()
    client.write('{}')
    await waitFor(async () => received.includes('"success":true'))
    received = ''
    client.write(`${post('/auth/refresh', 2)}{}`)
    await once(client, 'close')
    await closing
    const [head = '', body = ''] = received.split('\r\n\r\n')
    expect(head).toMatch(/^HTTP\/1\.1 503 /)
    expect(head).toMatch(/^retry-after: 1\r?$/im)
    expect(head).toMatch(/^cache-control: no-store\r?$/im)
    expect(head).toMatch(/^access-control-allow-origin: https:\/\/app\.example\.com\r?$/im)
    expect(JSON.parse(body).error.data).toMatchObject({
      reason: 'service_unavailable',
      httpStatus: 503,
      retryAfterSeconds: 1,
    })
  },
)
