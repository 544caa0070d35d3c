import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { hasChromium, useBrowser } from '../support/browser.ts'
import { serveClientPages, type ClientPages } from '../support/client-page.ts'
import { moveClock } from '../support/clock.ts'
import { countKinds } from '../support/ledger-counts.ts'
import { noFault, startProxy, type FaultyProxy } from '../support/proxy.ts'
import { freePort } from '../support/server.ts'
import { makeUser, testPassword } from '../support/users.ts'

describe.runIf(hasChromium)('two apps of one site', () => {
  const browser = useBrowser()
  let app: TestApp
  let proxy: FaultyProxy
  let pages: ClientPages
  let baseUrl: string
  beforeAll(async () => {
    pages = await serveClientPages()
    const port = await freePort()
    baseUrl = `http://auth.example.test:${port}`
    const origins = ['one', 'two'].map((name) => `http://${name}.example.test:${pages.port}`)
    app = await startApp({ PUBLIC_URL: baseUrl, ALLOWED_ORIGINS: origins.join(',') })
    proxy = await startProxy(port, app.url)
  })
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]()
    await Promise.all([app, pages].map((started) => started[Symbol.asyncDispose]()))
  })

  test('CL-12: with the option site, an answer that one app lost is no theft when the other refreshes', async () => {
    await using context = await browser.newContext()
    const { email } = await makeUser(app.owner.url)
    const options = { baseUrl, site: 'example.test' }
    const one = await pages.open(context, 'one.example.test', options)
    const login = { email, password: testPassword }
    const signedIn = await one.act((auth, input) => auth.login(input), login)
    expect(signedIn).toMatchObject({ status: 'signed-in', user: { email } })
    const { rotated: before = 0 } = await countKinds(app)

    // Not of its preflight.
    proxy.chooseFault = (path, method) =>
      path === '/auth/refresh' && method === 'POST' ? { kind: 'drop-answer' } : noFault
    expect(await one.act((auth) => auth.refresh())).toMatchObject({ reason: 'network_error' })
    await one.page.close()
    proxy.chooseFault = () => noFault
    expect(await countKinds(app)).toMatchObject({ rotated: before + 1 })
    await moveClock(app.owner.ownerSql, 11_000)

    const two = await pages.open(context, 'two.example.test', options)
    expect(await two.act((auth) => auth.restore())).toMatchObject({
      status: 'signed-in',
      user: { email },
    })
    expect(await two.act((auth) => auth.refresh())).toMatchObject({ status: 'signed-in' })
    // The notes are shared both ways: a sign-out as well.
    await two.act((auth) => auth.logout())
    const again = await pages.open(context, 'one.example.test', options)
    expect(await again.act((auth) => auth.restore())).toMatchObject({ status: 'signed-out' })
    expect(await countKinds(app)).not.toHaveProperty('reuse_detected')
    expect(await again.page.evaluate(() => localStorage.length)).toBe(0)
  })

  test('a page of another domain than the site is told at once', async () => {
    await using context = await browser.newContext()
    const opened = pages.open(context, 'one.example.test', { baseUrl, site: 'example.com' })
    await expect(opened).rejects.toThrow('one.example.test is not a host of example.com')
  })
})
