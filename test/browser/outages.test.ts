import { rmSync, chmodSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { migrate } from '../../db/migrate.ts'
import { buildApp, loadConfig } from '../../server/index.ts'
import {
  callProtected,
  expectNoToken,
  hasChromium,
  hasStatus,
  openPage,
  refreshesOf,
  signInOnPage,
  useBrowser,
} from '../support/browser.ts'
import { freshDatabase } from '../support/database.ts'
import { countKinds, expectNoReuse } from '../support/ledger-counts.ts'
import { startOwner } from '../support/owner-process.ts'
import { makeQuickFolder } from '../support/quick-folder.ts'
import { noFault, startBehindProxy, type AnswerFault } from '../support/proxy.ts'
import { freePort, testSecret } from '../support/server.ts'
import { makeUser } from '../support/users.ts'
import { repeats } from '../support/long.ts'

const awayMs = 5_000

describe.runIf(hasChromium)('an outage signs no user out', () => {
  const browser = useBrowser()

  test('CL-03: the server is down and starts again', async () => {
    await using owner = await freshDatabase()
    const { email } = await makeUser(owner.url)
    const port = await freePort()
    const start = () => startOn(owner.url, port)
    const first = await start()
    const page = await openPage(await browser.newContext(), first.url)
    await signInOnPage(page, email)
    await first.stop()
    await page.click('#refresh')
    await expect.poll(() => page.textContent('#status')).toContain('reconnecting: network_error')
    const second = await start()
    await callProtected(page)
    await expect.poll(() => page.textContent('#status')).toBe('Signed in')
    await second.stop()
  }, 60_000)

  test('CL-03: the database is down for five seconds', async () => {
    const dataDir = makeQuickFolder('token-ledger-outage-')
    chmodSync(dataDir, 0o711)
    const before = startOwner(dataDir)
    const databaseUrl = await before.url
    await migrate(databaseUrl)
    const { email } = await makeUser(databaseUrl)
    const app = await startOn(databaseUrl, await freePort())
    const page = await openPage(await browser.newContext(), app.url)
    await signInOnPage(page, email)
    await before.stop()
    const wentAt = Date.now()
    await page.click('#refresh')
    await expect.poll(() => page.textContent('#status')).toContain('service_unavailable')
    // A page that is opened now waits for the server and does not ask for a sign-in.
    const late = await openPage(page.context(), app.url)
    await expect.poll(() => late.textContent('#status')).toContain('Waiting for the server')
    await sleep(awayMs - (Date.now() - wentAt))
    const after = startOwner(dataDir)
    expect(await after.url).toBe(databaseUrl)
    for (const tab of [page, late])
      await expect.poll(() => tab.textContent('#status'), { timeout: 30_000 }).toBe('Signed in')
    await app.stop()
    await after.stop()
    rmSync(dataDir, { recursive: true })
  }, 180_000)

  const faults: [string, AnswerFault][] = [
    ['a 503 of the service', refusal(503, 'service_unavailable', 1)],
    ['a 401 page of a proxy', { kind: 'answer', status: 401, body: '<h1>Sign in to Wi-Fi</h1>' }],
    ['a 200 page of a captive portal', { kind: 'answer', status: 200, body: '<h1>Welcome</h1>' }],
    ['a 429 of the service', refusal(429, 'too_many_attempts', 1)],
    ['a 500 of the service', refusal(500, 'internal_error')],
    ['a redirect', { kind: 'answer', status: 302, headers: { location: '/console/' }, body: '' }],
    ['origin_not_allowed', refusal(403, 'origin_not_allowed')],
    ['transport_mismatch', refusal(401, 'transport_mismatch')],
    ['access_token_expired without an access token', refusal(401, 'access_token_expired')],
  ]
  test.each(faults.slice(0, repeats(3, faults.length)))(
    '%s does not sign the user out',
    async (_title, fault) => {
      await using behind = await startBehindProxy(browser)
      const { app, proxy } = behind
      const { email } = await makeUser(app.owner.url)
      const page = await openPage(await browser.newContext(), proxy.url)
      await signInOnPage(page, email)
      proxy.chooseFault = (path) => (path === '/auth/refresh' ? fault : noFault)
      await page.click('#refresh')
      await expect.poll(() => page.textContent('#status')).toContain('reconnecting')
      // The access token is still valid.
      await callProtected(page)
      await page.reload()
      await expect.poll(() => page.textContent('#status')).toContain('Waiting for the server')
      proxy.chooseFault = () => noFault
      await page.evaluate(() => window.dispatchEvent(new Event('online')))
      expect(await hasStatus(page, 'signed-in')).toBe('Signed in')
      await expectNoToken(page)
      await expectNoReuse(app)
    },
  )

  test('CL-03: the network of the browser is down', async () => {
    await using behind = await startBehindProxy(browser)
    const { app, proxy } = behind
    const { email } = await makeUser(app.owner.url)
    const context = await browser.newContext()
    const page = await openPage(context, proxy.url)
    await signInOnPage(page, email)
    await context.setOffline(true)
    await page.click('#refresh')
    await expect.poll(() => page.textContent('#status')).toContain('reconnecting: network_error')
    await context.setOffline(false)
    await expect.poll(() => page.textContent('#status')).toBe('Signed in')
    expect(await refreshesOf(page)).toBe(1)
    expect((await countKinds(app)).rotated).toBe(1)
  })

  test('CL-07 (ASVS 14.3.1): a sign-out that did not reach the server survives a reload and is sent later', async () => {
    await using behind = await startBehindProxy(browser)
    const { app, proxy } = behind
    const { email } = await makeUser(app.owner.url)
    const page = await openPage(await browser.newContext(), proxy.url)
    await signInOnPage(page, email)
    proxy.chooseFault = (path) => (path.startsWith('/auth') ? { kind: 'drop-request' } : noFault)
    await page.click('#sign-out')
    expect(await hasStatus(page, 'signed-out')).toBe('You signed out.')
    await page.reload()
    expect(await hasStatus(page, 'signed-out')).toBe('You signed out.')
    expect(await countKinds(app)).toEqual({ issued: 1 })
    proxy.chooseFault = () => noFault
    await page.evaluate(() => window.dispatchEvent(new Event('online')))
    await expect.poll(() => countKinds(app)).toEqual({ issued: 1, revoked: 1 })
    expect(await page.context().cookies()).toEqual([])
  })

  async function startOn(databaseUrl: string, port: number) {
    const config = loadConfig({ PORT: String(port), AUTH_SECRET: testSecret, RATE_LIMITS: 'off' })
    const database = connect(databaseUrl, { role: 'token_ledger_app' })
    const app = await buildApp({ config, database, consoleFolder: browser.consoleFolder })
    await app.listen({ host: '127.0.0.1', port })
    const stop = async () => {
      const closed = app.close()
      // Browsers keep spare connections that never sent a request; closing would wait for them.
      app.server.closeAllConnections()
      await closed
      await database.close()
    }
    return { url: config.publicUrl, stop }
  }
})

function refusal(status: number, reason: string, retryAfterSeconds?: number): AnswerFault {
  const data = { code: '', httpStatus: status, reason, retryAfterSeconds }
  const body = JSON.stringify({ error: { message: reason, code: -1, data } })
  return { kind: 'answer', status, headers: { 'content-type': 'application/json' }, body }
}
