import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { freshDatabase } from '../support/database.ts'
import { startServer } from '../support/server.ts'

test('HT-03: a silent connection does not delay a server that is stopping', async () => {
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

test('an error of the driver during a stop is not logged as fatal', async () => {
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
