import { QueryClient } from '@tanstack/react-query'
import { build } from 'esbuild'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BrowserContext, Page } from 'playwright-core'
import { renderToString } from 'react-dom/server'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createAuthClient } from '../../client/index.ts'
import { App } from '../client/react/app.tsx'
import { startApp, type TestApp } from '../support/app.ts'
import { hasChromium, hasStatus, useBrowser } from '../support/browser.ts'
import { countKinds, expectNoReuse } from '../support/ledger-counts.ts'
import { makeUser, testPassword } from '../support/users.ts'

/** The counts of refreshes below hold while no timer of the client fires. */
const longLife = { ACCESS_TOKEN_SECONDS: '900' }

describe.runIf(hasChromium)('the session in React', () => {
  const browser = useBrowser()
  const folder = mkdtempSync(join(tmpdir(), 'token-ledger-react-'))
  let app: TestApp

  beforeAll(async () => {
    await build({
      entryPoints: ['test/client/react/page.tsx'],
      outfile: join(folder, 'page.js'),
      bundle: true,
      format: 'esm',
      platform: 'browser',
      // StrictMode runs effects twice in development alone.
      define: { 'process.env.NODE_ENV': '"development"' },
    })
    writeFileSync(join(folder, 'index.html'), html())
    writeFileSync(join(folder, 'page.css'), '')
    app = await startApp(longLife, { consoleFolder: folder })
  })
  afterAll(async () => {
    await app[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  test('under StrictMode a page load costs one refresh, and refreshes ask nothing and run no effect of the user again', async () => {
    const { email } = await makeUser(app.owner.url)
    const context = await browser.newContext()
    const page = await open(context, app.url)
    expect(await hasStatus(page, 'signed-out')).toBe('refresh_token_missing')
    await signIn(page, email)
    const counts = countRequests(page)
    await page.route('**/auth/refresh', async (route) => {
      await page.waitForSelector('#fallback')
      await route.continue()
    })
    await page.reload()
    await hasText(page, '#user', email)
    await page.unroute('**/auth/refresh')
    await hasText(page, '#me', email)
    expect(counts).toEqual({ refresh: 1, login: 0, me: 1 })
    const effects = await userEffects(page)
    for (let refreshes = 0; refreshes < 5; refreshes += 1)
      await page.evaluate(() => window.auth.refresh().then(() => {}))
    expect(counts).toEqual({ refresh: 6, login: 0, me: 1 })
    expect(await userEffects(page)).toBe(effects)
    await context.close()
  })

  test.each(['restore', 'refresh'] as const)(
    'under StrictMode, the answer to a %s that comes after the provider was undone sets no state, and signs in once',
    async (call) => {
      const { email } = await makeUser(app.owner.url)
      const context = await browser.newContext()
      const page = await open(context, app.url)
      await hasStatus(page, 'signed-out')
      await signIn(page, email)
      const { rotated: before = 0 } = await countKinds(app)
      const held = await holdRefresh(page)
      if (call === 'restore') await page.reload()
      else await page.evaluate(() => void window.auth.refresh())
      await held.arrived
      await page.evaluate(() => window.unmount())
      // The page's own connection of the queries.
      expect(await page.evaluate(() => window.subscribers)).toBe(1)
      held.release()
      await page.waitForFunction(() => window.auth.session.status === 'signed-in')
      expect(await page.textContent('#root')).toBe('')
      await page.evaluate(() => window.mount('module'))
      await hasText(page, '#user', email)
      expect(await page.evaluate(() => window.signIns)).toBe(1)
      const { rotated } = await countKinds(app)
      expect(rotated).toBe(before + 1)
      await context.close()
    },
  )

  test('under StrictMode, a client of a component that was disposed of before its answer leaves nothing behind', async () => {
    const { email } = await makeUser(app.owner.url)
    const context = await browser.newContext()
    const page = await open(context, app.url)
    await hasStatus(page, 'signed-out')
    await signIn(page, email)
    await page.evaluate(() => {
      window.unmount()
      window.auth.dispose()
      window.signIns = 0
      window.subscribers = 0
    })
    const { rotated: before = 0 } = await countKinds(app)
    const held = await holdRefresh(page)
    await page.evaluate(() => window.mount('component'))
    await held.arrived
    // The late answer is for a client that its component has disposed of.
    await page.evaluate(() => window.unmount())
    await page.evaluate(() => window.mount('component'))
    held.release()
    await hasText(page, '#user', email)
    expect(await page.evaluate(() => window.signIns)).toBe(1)
    expect(await countKinds(app)).toMatchObject({ rotated: before + 1 })
    await page.evaluate(() => window.unmount())
    expect(await page.evaluate(() => window.subscribers)).toBe(0)
    expect(await page.evaluate(whatIsLeft)).toEqual([])
    await expectNoReuse(app)
    await context.close()
  })

  test('a query that is refused while signed out is not retried, and is asked again after the sign-in', async () => {
    const { email } = await makeUser(app.owner.url)
    const context = await browser.newContext()
    const page = await context.newPage()
    const counts = countRequests(page)
    await page.goto(`${app.url}/console/`)
    await page.waitForSelector('#me[data-state=error]')
    expect(counts.me).toBe(1)
    await signIn(page, email)
    await hasText(page, '#me', email)
    expect(counts.me).toBe(2)
    await page.waitForSelector('#sign-in[data-state=success]')
    await context.close()
  })

  test('another person signs in on the same tab and sees nothing of the first, not even an answer that was late', async () => {
    const [first, second] = [await makeUser(app.owner.url), await makeUser(app.owner.url)]
    const context = await browser.newContext()
    const page = await open(context, app.url)
    await hasStatus(page, 'signed-out')
    await signIn(page, first.email)
    await hasText(page, '#me', first.email)

    // The answer to one more question of the first person arrives after the second has signed in.
    let release = () => {}
    const late = new Promise<void>((resolve) => (release = resolve))
    let isHeld = false
    await page.route('**/trpc/me', async (route) => {
      const response = await route.fetch()
      const body = await response.text()
      if (body.includes(first.email)) {
        isHeld = true
        await late
      }
      await route.fulfill({ response, body }).catch(() => {})
    })
    await page.evaluate(() => void window.queries.refetchQueries())
    await expect.poll(() => isHeld).toBe(true)
    await page.evaluate(watchForText, first.email)
    await signIn(page, second.email)
    await hasText(page, '#me', second.email)
    release()
    await page.evaluate(() => window.queries.refetchQueries())
    await hasText(page, '#user', second.email)
    expect(await page.evaluate(() => window.seenAfterSignIn)).toEqual([])

    await page.evaluate(() => window.auth.logout().then(() => {}))
    await page.waitForSelector('#me[data-state=error]')
    expect(await page.textContent('body')).not.toContain(second.email)
    await context.close()
  })

  test('a sign-out in another tab and an end of the session show the form and drop the answers', async () => {
    const { email } = await makeUser(app.owner.url)
    const context = await browser.newContext()
    const here = await open(context, app.url)
    await hasStatus(here, 'signed-out')
    await signIn(here, email)
    const there = await open(context, app.url)
    await hasText(there, '#me', email)
    await there.evaluate(() => window.auth.logout().then(() => {}))
    expect(await hasStatus(here, 'signed-out')).toBe('logout')
    await here.waitForSelector('#form')
    await here.waitForSelector('#me[data-state=error]')
    expect(await here.textContent('body')).not.toContain(email)

    await signIn(there, email)
    await hasText(here, '#me', email)
    await app.owner
      .ownerSql`update token_ledger.user_account set disabled_at = token_ledger.clock()`
    const outcome = await here.evaluate(() => window.auth.refresh().then(String, String))
    expect(outcome).toContain('AuthClientError')
    expect(await hasStatus(here, 'signed-out')).toBe('session_revoked')
    expect(await here.textContent('body')).not.toContain(email)
    await context.close()
  })

  test('a page takes over what a server rendered for the user, and the service confirms it', async () => {
    const user = await makeUser(app.owner.url)
    const context = await browser.newContext()
    const page = await open(context, app.url)
    await hasStatus(page, 'signed-out')
    await signIn(page, user.email)
    const known = { id: user.id, email: user.email, role: user.role }
    const auth = createAuthClient({ baseUrl: app.url, initial: { user: known } })
    const markup = renderToString(<App auth={auth} queries={new QueryClient()} />)
    auth.dispose()
    await page.route('**/console/', (route) =>
      route.fulfill({ contentType: 'text/html', body: html(markup, JSON.stringify(known)) }),
    )
    await page.reload({ waitUntil: 'commit' })
    await hasText(page, '#user', user.email)
    await page.waitForFunction(
      () => window.auth?.session.status === 'signed-in' && window.auth.session.familyId !== '',
    )
    await hasText(page, '#me', user.email)
    expect(await page.evaluate(() => window.hydrationErrors)).toEqual([])
    await context.close()
  })

  test('tokens that expire, and hot reloads that replace the client, leave one client that refreshes', async () => {
    await using brief = await startApp({ ACCESS_TOKEN_SECONDS: '2' }, { consoleFolder: folder })
    const { email } = await makeUser(brief.owner.url)
    const context = await browser.newContext()
    const page = await open(context, brief.url)
    await hasStatus(page, 'signed-out')
    await signIn(page, email)
    for (let reloads = 0; reloads < 5; reloads += 1) await page.evaluate(() => window.reload())
    await hasText(page, '#me', email)
    const counts = countRequests(page)
    await page.evaluate(
      () =>
        new Promise<void>((resolve) => {
          let changes = 0
          // Once now, and once for each of two refreshes.
          window.auth.subscribe(() => (changes += 1) === 3 && resolve())
        }),
    )
    expect(counts.refresh).toBeLessThanOrEqual(3)
    expect(counts.me).toBe(0)
    await hasText(page, '#me', email)
    await expectNoReuse(brief)
    await context.close()
  })
})

declare global {
  interface Window {
    seenAfterSignIn: string[]
  }
}

function html(markup = '', user?: string): string {
  const data = user === undefined ? '' : ` data-user='${user}'`
  return `<!doctype html><title>React</title><div id="root"${data}>${markup}</div>
    <script type="module" src="/console/page.js"></script>`
}

async function open(context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage()
  await page.goto(`${url}/console/`)
  return page
}

async function signIn(page: Page, email: string): Promise<void> {
  const credentials = JSON.stringify({ email, password: testPassword })
  await page.evaluate((text) => (document.documentElement.dataset.credentials = text), credentials)
  await page.click('#sign-in')
  await hasText(page, '#user', email)
}

async function hasText(page: Page, selector: string, text: string): Promise<void> {
  await page.waitForSelector(`${selector}:has-text("${text}")`)
}

async function userEffects(page: Page): Promise<string | undefined> {
  return page.evaluate(() => document.documentElement.dataset.userEffects)
}

/** Lets the next refresh reach the service, and keeps its answer back until `release`. */
async function holdRefresh(page: Page) {
  let arrive = () => {}
  let letGo = () => {}
  const arrived = new Promise<void>((resolve) => (arrive = resolve))
  const released = new Promise<void>((resolve) => (letGo = resolve))
  await page.route(
    '**/auth/refresh',
    async (route) => {
      const request = route.request()
      // Not `route.fetch`, which gives the browser the cookie of an answer that it has not got yet.
      const { cookie = '', origin = '' } = await request.allHeaders()
      const response = await fetch(request.url(), {
        method: 'POST',
        headers: { 'content-type': 'application/json', cookie, origin },
        body: request.postData(),
      })
      arrive()
      await released
      const headers = Object.fromEntries(response.headers)
      // The page may have given the request up.
      await route
        .fulfill({ status: response.status, headers, body: await response.text() })
        .catch(() => {})
    },
    { times: 1 },
  )
  return { arrived, release: letGo }
}

function countRequests(page: Page): { refresh: number; login: number; me: number } {
  const counts = { refresh: 0, login: 0, me: 0 }
  page.on('request', (request) => {
    const name = new URL(request.url()).pathname.split('/').at(-1) as keyof typeof counts
    if (name in counts) counts[name] += 1
  })
  return counts
}

/** Runs in the page: the locks and the attempts that no client has ended. */
async function whatIsLeft(): Promise<unknown[]> {
  const { held = [], pending = [] } = await navigator.locks.query()
  const attempts = Object.keys(localStorage).filter((key) => key.endsWith(' attempt'))
  return [...held, ...pending, ...attempts]
}

/** Runs in the page: notes each time that it shows `text` while the page shows another user. */
function watchForText(text: string): void {
  window.seenAfterSignIn = []
  new MutationObserver(() => {
    const user = document.querySelector('#user')?.textContent ?? text
    const page = document.body.textContent
    if (user !== text && page.includes(text)) window.seenAfterSignIn.push(page)
  }).observe(document.body, { subtree: true, childList: true, characterData: true })
}
