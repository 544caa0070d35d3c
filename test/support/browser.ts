import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { buildExample } from '../../client/example/build.ts'
import { testPassword } from './users.ts'

const executablePath = [process.env.CHROMIUM, '/usr/bin/chromium'].find(
  (path) => path !== undefined && existsSync(path),
)

const launchArgs = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export type TestBrowser = {
  /** Of its own cookies and storage; closed at the end. */
  newContext(): Promise<BrowserContext>
  /** The example page, built. */
  readonly exampleFolder: string
}

/** Tests in a real browser; skipped, loudly, where there is none, which CI does not allow. */
export function describeInBrowser(title: string, tests: (browser: TestBrowser) => void): void {
  if (executablePath === undefined) {
    const problem = `NO CHROMIUM, so not tested: ${title}. Install it (apt-get install chromium) or set CHROMIUM.`
    if (process.env.CI === 'true') throw new Error(problem)
    console.warn(`\n\x1b[1;33m!!! ${problem}\x1b[0m\n`)
    describe.skip(`${title} (no Chromium)`, () => {})
    return
  }
  describe(title, () => {
    const exampleFolder = mkdtempSync(join(tmpdir(), 'token-ledger-example-'))
    let browser: Browser
    beforeAll(async () => {
      await buildExample(exampleFolder)
      browser = await chromium.launch({ executablePath, args: launchArgs })
    })
    afterAll(() => browser.close())
    tests({ newContext: () => browser.newContext(), exampleFolder })
  })
}

/** The example page in a new tab, and everything the tab said on its console. */
export async function openExample(context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage()
  await page.goto(`${url}/example/`)
  return page
}

export async function signIn(page: Page, email: string): Promise<void> {
  await page.fill('[name=email]', email)
  await page.fill('[name=password]', testPassword)
  await page.click('[value=login]')
  await hasStatus(page, 'signed-in')
}

export async function hasStatus(page: Page, status: string, timeoutMs = 15_000): Promise<string> {
  await page.waitForSelector(`#status[data-status=${status}]`, {
    state: 'attached',
    timeout: timeoutMs,
  })
  return (await page.textContent('#status')) ?? ''
}

/** How often this page refreshed since it knows of the session. */
export async function refreshesOf(page: Page): Promise<number> {
  return Number(/\d+/.exec((await page.textContent('#refreshes')) ?? '')?.[0] ?? -1)
}

/** Presses "Protected call", and waits for what it answers. */
export async function callProtected(page: Page): Promise<void> {
  await page.evaluate(() => document.querySelector('#answer')!.replaceChildren())
  await page.click('#call')
  await expect.poll(() => page.textContent('#answer'), { timeout: 15_000 }).toContain('familyId')
}
