import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { hasChromium, hasStatus, openPage, signInOnPage, useBrowser } from '../support/browser.ts'
import { serveClientPages, type ClientPages } from '../support/client-page.ts'
import { countKinds } from '../support/ledger-counts.ts'
import { makeUser, testPassword } from '../support/users.ts'

describe.runIf(hasChromium)('on localhost', () => {
  const browser = useBrowser()
  let app: TestApp
  let other: TestApp
  let pages: ClientPages
  beforeAll(async () => {
    const options = { consoleFolder: browser.consoleFolder }
    ;[app, other, pages] = await Promise.all([
      startApp({}, options),
      startApp({}, options),
      serveClientPages(),
    ])
  })
  afterAll(() => Promise.all([app, other, pages].map((started) => started[Symbol.asyncDispose]())))
  const atLocalhost = ({ url }: TestApp) => url.replace('127.0.0.1', 'localhost')

  test('CK-10: two services on two ports do not sign each other out, and a cookie of another project has no effect', async () => {
    await using context = await browser.newContext()
    await context.addCookies([
      { name: 'refresh_token', value: 'of-another-project', domain: 'localhost', path: '/' },
    ])
    const opened = []
    for (const service of [app, other]) {
      const { email } = await makeUser(service.owner.url)
      const page = await openPage(context, atLocalhost(service))
      await hasStatus(page, 'signed-out')
      await signInOnPage(page, email)
      opened.push({ page, email })
    }
    for (const { page, email } of opened) {
      await page.reload()
      await hasStatus(page, 'signed-in')
      expect(await page.textContent('#user')).toBe(`${email} (user)`)
    }
    const [first, second] = opened.map(({ page }) => page)
    await first!.click('#sign-out')
    await hasStatus(first!, 'signed-out')
    await second!.reload()
    await hasStatus(second!, 'signed-in')
    await expect
      .poll(async () => (await context.cookies()).map(({ name }) => name).toSorted())
      .toEqual([`${new URL(other.url).port}-refresh_token`, 'refresh_token'].toSorted())
  })

  test('a page of any port of localhost signs in, and a sign-in whose cookie the browser drops says so', async () => {
    await using context = await browser.newContext()
    const { email } = await makeUser(app.owner.url)
    const credentials = { email, password: testPassword }
    const baseUrl = atLocalhost(app)
    const local = await pages.open(context, 'localhost', { baseUrl })
    const signedIn = await local.act(async (auth, input) => {
      await auth.login(input)
      return auth.refresh()
    }, credentials)
    expect(signedIn).toMatchObject({ status: 'signed-in', user: { email } })

    const before = await countKinds(app)
    const numeric = await pages.open(context, '127.0.0.1', { baseUrl })
    const dropped = await numeric.act((auth, input) => auth.login(input), credentials)
    expect(dropped).toEqual({
      reason: 'cookie_dropped',
      message: expect.stringMatching(
        /dropped the cookie of http:\/\/localhost:\d+, .* this page is of http:\/\/127\.0\.0\.1:\d+ /,
      ),
    })
    await expect
      .poll(() => numeric.act(async (auth) => auth.session))
      .toMatchObject({ status: 'signed-out' })
    // The session that no browser has is ended.
    expect(await countKinds(app)).toMatchObject({
      issued: before.issued! + 1,
      revoked: (before.revoked ?? 0) + 1,
    })
  })
})
