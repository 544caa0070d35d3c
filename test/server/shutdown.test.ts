import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { freshDatabase } from '../support/database.ts'
import { startServer } from '../support/server.ts'

test('HT-03: a connection that sends nothing does not hold up a server that is told to stop', async () => {
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
