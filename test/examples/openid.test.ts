import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { serviceUrl } from '../support/admin.ts'
import { hasChromium, useBrowser } from '../support/browser.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { longTest, runsLong } from '../support/long.ts'
import { freePort, testSecret } from '../support/server.ts'

// The example and the provider, each in a process of its own, and Chromium.
let owner: FreshDatabase
let appUrl = ''
let folder = ''
const processes: ChildProcess[] = []

describe.runIf(hasChromium && runsLong)('client/examples/openid', () => {
  const browser = useBrowser()
  beforeAll(async () => {
    owner = await freshDatabase()
    const [appPort, providerPort] = [await freePort(), await freePort()]
    appUrl = `http://localhost:${appPort}`
    folder = await mkdtemp(path.join(tmpdir(), 'token-ledger-openid-'))
    await copyExample(folder)
    await start(['test/examples/openid-provider.js', String(providerPort), appUrl], {})
    await start(['--import', 'tsx', path.join(folder, 'main.js')], {
      DATABASE_URL: serviceUrl(owner.url),
      AUTH_SECRET: testSecret,
      PORT: String(appPort),
      PUBLIC_URL: appUrl,
      OPENID_ISSUER: `http://localhost:${providerPort}`,
      OPENID_CLIENT_ID: 'example',
      OPENID_CLIENT_SECRET: 'a secret of the example',
    })
  }, 60_000)
  afterAll(async () => {
    for (const one of processes) {
      const exited = once(one, 'exit')
      one.kill()
      await exited
    }
    await owner[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  })

  longTest(
    'a session that the provider began rotates, names its method and its instant, and is found when it is stolen',
    async () => {
      const context = await browser.newContext()
      const page = await signIn(context, 'ada')
      const [first] = await refreshCookies(context)
      const [session] = await owner.ownerSql`
        select status, methods, transport, created_at - authenticated_at < interval '1 minute' as is_recent
        from token_audit.sessions`
      expect(session).toEqual({
        status: 'active',
        methods: ['fed'],
        transport: 'cookie',
        is_recent: true,
      })
      for (let i = 0; i < 2; i++) {
        await page.reload()
        await says(page, 'Signed in as ceo@bank.example.')
      }
      const stolen = await fetch(`${appUrl}/auth/refresh`, {
        method: 'POST',
        headers: { cookie: `${first!.name}=${first!.value}`, origin: appUrl },
      })
      expect((await stolen.json()).error.data.reason).toBe('refresh_token_reused')
      await page.reload()
      await says(page, 'Signed out.')
      await context.close()
    },
    60_000,
  )

  longTest(
    'two accounts with the same unverified address are two users, and one account is always the same',
    async () => {
      const ids: string[] = []
      for (const account of ['grace', 'mallory', 'grace']) {
        const context = await browser.newContext()
        await signIn(context, account)
        await context.close()
        const [row] = await owner.ownerSql`
          select user_id from token_audit.sessions order by family_id desc limit 1`
        ids.push(row!.user_id)
      }
      expect(ids[0]).toBe(ids[2])
      expect(ids[0]).not.toBe(ids[1])
    },
    60_000,
  )

  longTest(
    'a callback that this browser did not ask for starts no session',
    async () => {
      const count = async () => (await owner.ownerSql`select from token_audit.sessions`).length
      const before = await count()
      // With the state and the code of another browser.
      const other = await browser.newContext()
      const theirs = await other.newPage()
      await begin(theirs)
      // Without it, the app does not use up the code.
      await other.clearCookies({ name: 'openid_flow' })
      await finish(theirs, 'mallory')
      await expect.poll(() => theirs.url()).toContain('/openid/callback?code=')
      const callback = theirs.url()
      const context = await browser.newContext()
      const page = await context.newPage()
      expect((await page.goto(callback))!.status()).toBe(400)
      // And after a flow of its own has begun: another state.
      await page.goto(`${appUrl}/openid/sign-in`)
      expect((await page.goto(callback))!.status()).toBe(400)
      expect(await count()).toBe(before)
      await Promise.all([other.close(), context.close()])
    },
    60_000,
  )

  longTest(
    'signing out ends the session here and the one at the provider',
    async () => {
      const context = await browser.newContext()
      const page = await signIn(context, 'ada')
      await page.click('#sign-out')
      // The provider asks.
      await page.click('button[name=logout]')
      await says(page, 'Signed out.')
      const [session] = await owner.ownerSql`
        select end_reason from token_audit.sessions order by family_id desc limit 1`
      expect(session).toEqual({ end_reason: 'logout' })
      await page.click('#sign-in')
      await page.waitForSelector('input[name=password]')
      await context.close()
    },
    60_000,
  )
})

/** The project, with packages as this repository has them. */
async function copyExample(to: string): Promise<void> {
  await cp('client/examples/openid', to, { recursive: true })
  const modules = path.join(to, 'node_modules')
  await mkdir(path.join(modules, 'token-ledger'), { recursive: true })
  for (const name of ['fastify', 'openid-client', 'tsx'])
    await symlink(path.resolve('node_modules', name), path.join(modules, name))
  const source = pathToFileURL(path.resolve('server/index.ts')).href
  const main = { name: 'token-ledger', type: 'module', main: 'index.js' }
  await writeFile(path.join(modules, 'token-ledger/package.json'), JSON.stringify(main))
  await writeFile(path.join(modules, 'token-ledger/index.js'), `export * from '${source}'\n`)
}

/** Resolves when the program writes that it listens. */
async function start(args: readonly string[], env: Record<string, string>): Promise<void> {
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  processes.push(child)
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (text: Buffer) => text.includes('listen') && resolve())
    child.on('exit', (code) => reject(new Error(`${args.at(-1)} ended: ${code}`)))
  })
}

async function begin(page: Page): Promise<void> {
  await page.goto(`${appUrl}/`)
  await page.click('#sign-in')
  await page.waitForSelector('input[name=login]')
}

/** Goes through the provider: its form, and its question whether the app may know the address. */
async function finish(page: Page, account: string): Promise<void> {
  await page.fill('input[name=login]', account)
  await page.fill('input[name=password]', 'anything')
  await page.click('button[type=submit]')
  await page.click('button[type=submit]')
}

async function signIn(context: BrowserContext, account: string): Promise<Page> {
  const page = await context.newPage()
  await begin(page)
  await finish(page, account)
  await says(page, 'Signed in as ceo@bank.example.')
  return page
}

async function says(page: Page, text: string): Promise<void> {
  await expect.poll(() => page.textContent('#who').catch(() => ''), { timeout: 20_000 }).toBe(text)
}

async function refreshCookies(context: BrowserContext) {
  const cookies = await context.cookies()
  return cookies.filter(({ name }) => name.endsWith('refresh_token'))
}
