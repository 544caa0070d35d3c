import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ConfigError } from '../../server/config/config.ts'
import { withListenErrors, probeAddress } from '../../server/config/listen-address.ts'
import { freshDatabase } from '../support/database.ts'
import { run, withoutWaits } from '../support/run.ts'
import { freePort, testSecret } from '../support/server.ts'

async function takenPort() {
  const server = createServer().listen(await freePort(), '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { port: address.port, [Symbol.dispose]: () => void server.close() }
}

test('probing a free address leaves it free', async () => {
  const address = { host: '127.0.0.1', port: await freePort() }
  await probeAddress(address)
  await probeAddress(address)
})

test('a port in use is reported before a database is created, in one line that names PORT', async () => {
  using taken = await takenPort()
  const dataDir = mkdtempSync(join(tmpdir(), 'token-ledger-port-'))
  const outcome = await run('server/main.ts', [], {
    env: { PORT: String(taken.port), DATA_DIR: dataDir },
  })
  const line = `token-ledger: PORT: ${taken.port} is in use; set another, such as PORT=${taken.port + 1}\n`
  expect(outcome).toEqual({ code: 3, stdout: '', stderr: line })
  expect(readdirSync(dataDir)).toEqual([])
  rmSync(dataDir, { recursive: true })
})

test('with DATABASE_URL a port in use is one line that names PORT as well', async () => {
  using taken = await takenPort()
  await using database = await freshDatabase()
  const env = { PORT: String(taken.port), DATABASE_URL: database.url, AUTH_SECRET: testSecret }
  const outcome = await run('server/main.ts', [], { env })
  expect(outcome.code).toBe(3)
  expect(withoutWaits(outcome.stderr)).toMatch(
    /^token-ledger: PORT: \d+ is in use; [^\n]+ PORT=\d+\n$/,
  )
})

test('the address of another machine is one line that names HOST', async () => {
  const trying = probeAddress({ host: '192.0.2.1', port: await freePort() })
  await expect(trying).rejects.toBeInstanceOf(ConfigError)
  await expect(trying).rejects.toThrow(
    'HOST: 192.0.2.1 is not an address of this machine (EADDRNOTAVAIL); set another, such as HOST=127.0.0.1',
  )
})

test('a host that does not exist is one line that names HOST', async () => {
  await expect(probeAddress({ host: 'nowhere.invalid', port: 3000 })).rejects.toThrow(
    /^HOST: nowhere\.invalid cannot be resolved \(E\w+\); set another, such as HOST=127\.0\.0\.1$/,
  )
})

test('a port that needs more rights is one line that names PORT', async () => {
  const refused = () => Promise.reject(Object.assign(new Error('listen'), { code: 'EACCES' }))
  await expect(withListenErrors({ host: '127.0.0.1', port: 80 }, refused)).rejects.toThrow(
    'PORT: this user may not listen on 80; set another, such as PORT=3000',
  )
})

test('an error that is not about the address is thrown unchanged', async () => {
  const bug = new Error('a bug')
  const thrown = withListenErrors({ host: '127.0.0.1', port: 80 }, () => Promise.reject(bug))
  await expect(thrown).rejects.toBe(bug)
})
