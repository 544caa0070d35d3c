import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { decodeJwt } from 'jose'
import { expect, test } from 'vitest'
import { startApp } from '../support/app.ts'
import { moveClock } from '../support/clock.ts'
import { freshDatabase } from '../support/database.ts'
import { auth, query } from '../support/http.ts'
import { startServer } from '../support/server.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

const minute = 60_000

/** A host whose clocks a test sets: the time of day, and the monotonic one, as time passes. */
function hostClocks() {
  const folder = mkdtempSync(join(tmpdir(), 'token-ledger-clocks-'))
  const file = join(folder, 'clocks')
  const script = `
    import { readFileSync } from 'node:fs'
    const Real = Date, passed = performance.now.bind(performance)
    let byMs = 0, passedMs = 0
    const look = () => { [byMs, passedMs] = JSON.parse(readFileSync(${JSON.stringify(file)}, 'utf8')) }
    look()
    setInterval(() => { try { look() } catch {} }, 50).unref()
    globalThis.Date = class extends Real {
      constructor(...given) { given.length > 0 ? super(...given) : super(Real.now() + byMs) }
      static now() { return Real.now() + byMs }
    }
    performance.now = () => passed() + passedMs`
  return {
    set: (byMs: number, passedMs = 0) => writeFileSync(file, JSON.stringify([byMs, passedMs])),
    preload: `--import=data:text/javascript,${encodeURIComponent(script)}`,
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}

test('a session that was ended while the clock of the host was ahead never lives again', async () => {
  using clocks = hostClocks()
  clocks.set(40 * minute)
  await using database = await freshDatabase()
  await using server = await startServer(database.url, { NODE_OPTIONS: clocks.preload })
  const { email } = await makeUser(database.url)
  const { data } = await auth(server.url, 'login', {
    email,
    password: testPassword,
    transport: 'body',
  })
  const { accessToken, refreshToken } = data
  expect((await query(server.url, 'me', accessToken)).status).toBe(200)
  // The token is of the database's time, so that other services take it, too.
  expect(Math.abs(decodeJwt(accessToken).iat! * 1000 - Date.now())).toBeLessThan(20_000)
  await auth(server.url, 'logout', { refreshToken })
  const me = () => query(server.url, 'me', accessToken)
  await waitFor(async () => (await me()).reason === 'access_token_revoked')
  clocks.set(0)
  expect((await me()).reason).toBe('access_token_revoked')
  // 41 minutes later, everywhere.
  await moveClock(database.ownerSql, 41 * minute)
  clocks.set(41 * minute, 41 * minute)
  await waitFor(async () => (await me()).reason === 'access_token_expired')
})

test('a host whose clock differs by more than 5 s from the database warns once, and by more than 30 s says so in /readyz', async () => {
  const lines: string[] = []
  const logger = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) })
  await using app = await startApp({}, { signingKeyReloadMs: 50, logger })
  const warnings = () => lines.filter((line) => line.includes('the clock of this host differs'))
  const ready = async () => (await fetch(`${app.url}/readyz`)).json()
  expect(warnings()).toHaveLength(0)
  await moveClock(app.owner.ownerSql, 10_000)
  await waitFor(async () => warnings().length > 0)
  expect(JSON.parse(warnings()[0]!).aheadMs).toBeLessThan(-9_000)
  expect(await ready()).not.toMatchObject({ warnings: ['host_clock_differs'] })
  await moveClock(app.owner.ownerSql, -40_000)
  await waitFor(async () => (await ready()).warnings?.includes('host_clock_differs'))
  expect(warnings()).toHaveLength(1)
  await moveClock(app.owner.ownerSql, 0)
  await waitFor(async () => (await ready()).warnings === undefined)
})
