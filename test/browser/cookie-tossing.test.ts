import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { BrowserContext, Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import {
  hasChromium,
  hasStatus,
  openPage,
  signInOnPage,
  useBrowser,
  type TestBrowser,
} from '../support/browser.ts'
import { auth, refreshCookieIn } from '../support/http.ts'
import { freePort } from '../support/server.ts'
import { hasOpenssl, startTlsProxy } from '../support/tls.ts'
import { makeUser, testPassword } from '../support/users.ts'

/** The service on auth.example.test, and a page of evil.example.test. */
type Site = AsyncDisposable & {
  readonly url: string
  readonly app: TestApp
  readonly context: BrowserContext
  /** A refresh token of the attacker's own session. */
  attackersToken(): Promise<string>
  /** Sets a cookie as a script on evil.example.test. */
  toss(cookie: string): Promise<void>
}

async function startSite(browser: TestBrowser, env: Record<string, string> = {}): Promise<Site> {
  const [port, tlsPort, evilPort] = [await freePort(), await freePort(), await freePort()]
  const url = `https://auth.example.test:${tlsPort}`
  const settings = { PORT: String(port), PUBLIC_URL: url, ...env }
  const app = await startApp(settings, { consoleFolder: browser.consoleFolder })
  const evil = createServer((_request, response) => response.end('<!doctype html>')).listen(
    0,
    '127.0.0.1',
  )
  await once(evil, 'listening')
  const proxies = [
    await startTlsProxy(tlsPort, port),
    await startTlsProxy(evilPort, (evil.address() as AddressInfo).port),
  ]
  const context = await browser.newContext({ ignoreHTTPSErrors: true })
  const { email } = await makeUser(app.owner.url)
  let evilPage: Page | undefined
  return {
    url,
    app,
    context,
    async attackersToken() {
      const answer = await auth(app.url, 'login', { email, password: testPassword })
      return refreshCookieIn(answer)!
    },
    async toss(cookie) {
      if (evilPage === undefined) {
        evilPage = await context.newPage()
        await evilPage.goto(`https://evil.example.test:${evilPort}/`)
      }
      await evilPage.evaluate((text) => void (document.cookie = text), cookie)
    },
    async [Symbol.asyncDispose]() {
      await context.close()
      for (const proxy of proxies) await proxy[Symbol.asyncDispose]()
      evil.close()
      await app[Symbol.asyncDispose]()
    },
  }
}

const domainsOf = async (context: BrowserContext) =>
  (await context.cookies()).map(({ name, domain }) => `${name} ${domain}`)

const reloaded = async (page: Page, status: string) => {
  await page.reload()
  return hasStatus(page, status)
}

describe.runIf(hasChromium && hasOpenssl)('a sibling host that sets cookies', () => {
  const browser = useBrowser()
  const attributes = 'Domain=example.test; Secure; Max-Age=3600'

  test.each(['/', '/auth', '/auth/refresh'])(
    'CK-08 CL-10 (ASVS 3.3.3): signs no visitor in as the attacker, by a cookie with the path %s',
    async (path) => {
      await using site = await startSite(browser)
      const token = await site.attackersToken()
      await site.toss(`__Secure-refresh_token=${token}; Path=${path}; ${attributes}`)
      expect(await domainsOf(site.context)).toEqual(['__Secure-refresh_token .example.test'])

      const page = await openPage(site.context, site.url)
      expect(await hasStatus(page, 'signed-out')).toBe('Not signed in')
      const { email } = await makeUser(site.app.owner.url)
      await signInOnPage(page, email)
      expect(await page.textContent('#user')).toBe(`${email} (user)`)
      await reloaded(page, 'signed-in')
      expect(await page.textContent('#user')).toBe(`${email} (user)`)
      // Cleared by the sign-in or, for a path that is not sent there, by the refresh.
      expect(await domainsOf(site.context)).toEqual(['__Secure-refresh_token auth.example.test'])
    },
  )

  test('CK-08 CL-10: keeps no user out, neither by a session of the attacker nor by junk', async () => {
    await using site = await startSite(browser)
    const { email } = await makeUser(site.app.owner.url)
    const page = await openPage(site.context, site.url)
    await signInOnPage(page, email)
    for (const value of [await site.attackersToken(), 'junk', '']) {
      for (const path of ['/auth/refresh', '/auth', '/'])
        await site.toss(`__Secure-refresh_token=${value}; Path=${path}; ${attributes}`)
      await reloaded(page, 'signed-in')
      expect(await page.textContent('#user')).toBe(`${email} (user)`)
      // The refresh has cleared them.
      expect(await domainsOf(site.context)).toEqual(['__Secure-refresh_token auth.example.test'])

      await site.toss(`__Secure-refresh_token=${value}; Path=/auth/logout; ${attributes}`)
      await page.click('#sign-out')
      await hasStatus(page, 'signed-out')
      await expect.poll(() => site.context.cookies()).toEqual([])
      await site.toss(`__Secure-refresh_token=${value}; Path=/auth/login; ${attributes}`)
      await signInOnPage(page, email)
      expect(await page.textContent('#user')).toBe(`${email} (user)`)
      await site.context.clearCookies({ path: '/auth/login' })
    }
    const [ended] = await site.app.owner.ownerSql<{ reuse: number }[]>`
      select count(*)::int as reuse from token_audit.reuse_incidents`
    expect(ended!.reuse).toBe(0)
  })

  test('CK-09 (ASVS 3.3.3): with COOKIE_PREFIX=host the browser refuses the cookie of a sibling host, and others have no effect', async () => {
    await using site = await startSite(browser, { COOKIE_PREFIX: 'host' })
    const answer = await auth(site.app.url, 'login', {
      email: (await makeUser(site.app.owner.url)).email,
      password: testPassword,
    })
    const token = refreshCookieIn(answer)!
    expect(answer.headers.getSetCookie()).toEqual([
      expect.stringMatching(
        /^__Host-refresh_token=[^;]+; Max-Age=\d+; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
      ),
    ])
    for (const path of ['/', '/auth'])
      await site.toss(`__Host-refresh_token=${token}; Path=${path}; ${attributes}`)
    expect(await site.context.cookies()).toEqual([])
    for (const name of ['__Secure-refresh_token', 'refresh_token'])
      await site.toss(`${name}=${token}; Path=/auth; ${attributes}`)

    const page = await openPage(site.context, site.url)
    expect(await hasStatus(page, 'signed-out')).toBe('Not signed in')
    const { email } = await makeUser(site.app.owner.url)
    await signInOnPage(page, email)
    await reloaded(page, 'signed-in')
    expect(await page.textContent('#user')).toBe(`${email} (user)`)
    expect(await domainsOf(site.context)).toContain('__Host-refresh_token auth.example.test')
    await page.click('#sign-out')
    await hasStatus(page, 'signed-out')
    await expect
      .poll(() => domainsOf(site.context))
      .not.toContain('__Host-refresh_token auth.example.test')
  })
})
