import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  chromium,
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  type Page,
} from 'playwright-core'
import { afterAll, beforeAll, expect } from 'vitest'
import { buildPage } from '../browser/page/build.ts'
import { testPassword } from './users.ts'

export const executablePath = [process.env.CHROMIUM, '/usr/bin/chromium'].find(
  (path) => path !== undefined && existsSync(path),
)

export const launchArgs = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // So that pages of several hosts of one site can be served here.
  '--host-resolver-rules=MAP *.example.test 127.0.0.1',
]

export type TestBrowser = {
  /** Has cookies and storage of its own, or a copy of others; closed with the browser. */
  newContext(options?: BrowserContextOptions): Promise<BrowserContext>
  /** The folder of a page that has every call of the client as a button, for `consoleFolder`. */
  readonly consoleFolder: string
}

/** Without Chromium the browser tests are skipped with a warning; in CI that is an error. */
export const hasChromium = executablePath !== undefined

if (!hasChromium) {
  const problem =
    'NO CHROMIUM: the browser tests are skipped. Install it (apt-get install chromium) or set CHROMIUM.'
  if (process.env.CI === 'true') throw new Error(problem)
  console.warn(`\n\x1b[1;33m!!! ${problem}\x1b[0m\n`)
}

/** One browser for the tests of a `describe.runIf(hasChromium)`. */
export function useBrowser(): TestBrowser {
  const consoleFolder = mkdtempSync(join(tmpdir(), 'token-ledger-page-'))
  let browser: Browser | undefined
  beforeAll(async () => {
    await buildPage(consoleFolder)
    browser = await chromium.launch({ executablePath: executablePath!, args: launchArgs })
  })
  afterAll(async () => {
    await browser?.close()
    rmSync(consoleFolder, { recursive: true })
  })
  return { newContext: (options) => browser!.newContext(options), consoleFolder }
}

/** Opens the test page in a new tab, which must never write a token to its console. */
export async function openPage(context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage()
  page.on('console', (line) => expect(line.text()).not.toMatch(/eyJ|tlr1/))
  await page.goto(`${url}/console/`)
  return page
}

export async function signInOnPage(page: Page, email: string): Promise<void> {
  await page.fill('[name=email]', email)
  await page.fill('[name=password]', testPassword)
  await page.click('[value=login]')
  await hasStatus(page, 'signed-in')
}

export async function hasStatus(page: Page, status: string, timeoutMs = 30_000): Promise<string> {
  await page.waitForSelector(`#status[data-status=${status}]`, {
    state: 'attached',
    timeout: timeoutMs,
  })
  return (await page.textContent('#status')) ?? ''
}

/** How often this page has refreshed its session. */
export async function refreshesOf(page: Page): Promise<number> {
  return Number(/\d+/.exec((await page.textContent('#refreshes')) ?? '')?.[0] ?? -1)
}

/** Presses "Protected call" and waits for its answer. */
export async function callProtected(page: Page): Promise<void> {
  await page.evaluate(() => document.querySelector('#answer')!.replaceChildren())
  await page.click('#call')
  await expect.poll(() => page.textContent('#answer')).toContain('familyId')
}

/** Searches everything of a page that a script can reach: no access or refresh token may be in it. */
export async function expectNoToken(page: Page): Promise<void> {
  const texts = await page.evaluate(searchPage)
  expect(texts.filter((place) => /eyJ[\w-]+\.[\w-]+|tlr1\./.test(place))).toEqual([])
}

/** Runs in the page and returns every text that it can reach. */
async function searchPage(): Promise<string[]> {
  const found: string[] = [
    location.href,
    document.cookie,
    document.documentElement.outerHTML,
    window.name,
  ]
  found.push(JSON.stringify(history.state), JSON.stringify(performance.getEntries()))
  for (const storage of [localStorage, sessionStorage])
    found.push(JSON.stringify(Object.entries(storage)))
  found.push(JSON.stringify(await indexedDB.databases()), JSON.stringify(await caches.keys()))

  const seen = new Set<unknown>()
  const queue: [string, unknown][] = [['window', window]]
  for (let next = queue.pop(); next !== undefined && seen.size < 50_000; next = queue.pop()) {
    const [path, value] = next
    if (typeof value === 'string') found.push(`${path}=${value}`)
    const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function'
    if (!isObject || seen.has(value)) continue
    seen.add(value)
    for (const key of Reflect.ownKeys(value)) {
      try {
        queue.push([`${path}.${String(key)}`, Reflect.get(value, key)])
      } catch {
        // A getter that needs another `this`.
      }
    }
  }
  return found
}
