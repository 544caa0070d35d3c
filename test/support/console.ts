import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { resolve } from 'node:path'
import { promisify } from 'node:util'
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect } from 'vitest'
import { startApp, type TestApp } from './app.ts'
import { executablePath, launchArgs } from './browser.ts'
import { freshDatabase } from './database.ts'
import { testPassword } from './users.ts'

const run = promisify(execFile)

/** Where the run keeps its bundles, which it removes at its end. */
const ofTheRun = process.env['TEST_PROGRAMS'] ?? tmpdir()

/**
 * Builds `client/console` as `npm run build` does, once for all files of a run.
 *
 * @returns the folder of the built files
 */
async function builtConsole(): Promise<string> {
  const built = resolve(ofTheRun, 'console')
  if (existsSync(built)) return built
  const folder = mkdtempSync(resolve(ofTheRun, 'console-'))
  const vite = resolve('node_modules/vite/bin/vite.js')
  const options = ['--logLevel', 'warn', '--outDir', folder, '--emptyOutDir']
  await run(process.execPath, [vite, 'build', 'client/console', ...options], {
    // Vitest's own value would make a page for development.
    env: { ...process.env, NODE_ENV: 'production' },
  })
  try {
    renameSync(folder, built)
  } catch {
    // Another worker was faster.
    rmSync(folder, { recursive: true })
  }
  return built
}

export type ConsoleRig = {
  /** The service, which serves the console. */
  readonly app: TestApp
  /** The built files. */
  readonly folder: string
  /** Opens the console in a browser profile of its own, at this path below `/console/`. */
  open(path?: string, options?: BrowserContextOptions & { readonly url?: string }): Promise<Page>
  /** What pages have done that none may do: requests to other hosts, refused policies, tokens in console lines. */
  readonly offences: string[]
}

/** One service and one browser for the tests of a `describe.runIf(hasChromium)`. */
export function useConsole(
  env: Record<string, string> = {},
  appOptions: Pick<NonNullable<Parameters<typeof startApp>[1]>, 'signingKeyReloadMs'> = {},
): ConsoleRig {
  let folder = ''
  const offences: string[] = []
  let browser: Browser | undefined
  let app: TestApp | undefined
  beforeAll(async () => {
    const [built, owner, launched] = await Promise.all([
      builtConsole(),
      freshDatabase(),
      chromium.launch({ executablePath: executablePath!, args: launchArgs }),
    ])
    folder = built
    browser = launched
    app = await startApp(env, { ...appOptions, owner, consoleFolder: folder })
  })
  afterAll(async () => {
    await browser?.close()
    await app?.[Symbol.asyncDispose]()
    expect(offences).toEqual([])
  })
  return {
    get app() {
      return app!
    },
    get folder() {
      return folder
    },
    offences,
    async open(path = '', { url = app!.url, ...options } = {}) {
      const context = await browser!.newContext({ reducedMotion: 'reduce', ...options })
      const page = await context.newPage()
      watch(page, url, offences)
      await page.goto(`${url}/console/${path}`)
      return page
    },
  }
}

/** Signs in by the form. */
export async function signInOnConsole(page: Page, email: string): Promise<void> {
  await page.getByLabel('E-mail').fill(email)
  await page.getByLabel('Password').fill(testPassword)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('button', { name: 'Sign out' }).waitFor()
}

function watch(page: Page, url: string, offences: string[]): void {
  page.on('request', (request) => {
    if (!request.url().startsWith(`${url}/`)) offences.push(`request to ${request.url()}`)
  })
  page.on('console', (line) => {
    const text = line.text()
    if (/Content.Security.Policy|TrustedHTML|TrustedScript/i.test(text)) offences.push(text)
    if (/eyJ[\w-]+\.[\w-]+|tlr1\./.test(text)) offences.push('a token in a console line')
  })
  page.on('pageerror', ({ message }) => {
    // `expectNoToken` reads every getter there is, without the object that it belongs to.
    if (!message.endsWith('Illegal invocation')) offences.push(`thrown: ${message}`)
  })
}
