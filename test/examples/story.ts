import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { executablePath, expectNoToken, hasChromium, launchArgs } from '../support/browser.ts'
import { runsLong } from '../support/long.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'
import type { ExampleService } from './service.ts'

/** What a story needs of an example: a page that shows the signed-in person's address, and a form to sign in. */
export type Example = AsyncDisposable & {
  readonly url: string
  readonly service: ExampleService
  /** Has the page make a call that needs an access token, and waits for its answer. */
  call(page: Page): Promise<void>
}

/**
 * Tests that the page of an example keeps the right person signed in, whatever happens. They need the registry.
 *
 * @param more Adds tests of this example alone.
 */
export function tellStory<One extends Example>(
  name: string,
  start: () => Promise<One>,
  more: (example: () => One) => void = () => {},
): void {
  describe.runIf(hasChromium && runsLong)(`client/examples/${name}`, { timeout: 120_000 }, () => {
    let browser: Browser
    let example: One
    beforeAll(async () => {
      browser = await chromium.launch({ executablePath: executablePath!, args: launchArgs })
      example = await start()
    }, 600_000)
    afterAll(async () => {
      await browser?.close()
      await example?.[Symbol.asyncDispose]()
    })

    test('signs in, calls, and shows no script a token', async () => {
      await using visit = await begin()
      const { page, email } = visit
      await fill(page, email, 'wrong')
      await page.getByText('password is wrong').waitFor()
      await signIn(page, email)
      await example.call(page)
      await expectNoToken(page)
    })

    test('goes on after its access token has expired', async () => {
      await using visit = await begin()
      const { page, email } = visit
      await signIn(page, email)
      const before = await example.service.rotationsOf(email)
      await waitFor(async () => (await example.service.rotationsOf(email)) >= before + 2)
      await example.call(page)
    })

    test('is signed in after a reload, and in a second tab', async () => {
      await using visit = await begin()
      const { context, page, email } = visit
      await signIn(page, email)
      await page.reload()
      await isShown(page, email)
      const second = await open(context)
      await isShown(second, email)
      await example.call(second)
      await example.call(page)
    })

    test('is signed out by a sign-out in another tab, and by one on another device', async () => {
      await using visit = await begin()
      const { context, page, email } = visit
      await signIn(page, email)
      const second = await open(context)
      await isShown(second, email)
      await signOut(second)
      await asksToSignIn(page)

      await signIn(page, email)
      await example.service.signOutElsewhere(email)
      await asksToSignIn(page)
    })

    test('stays signed in while the service restarts', async () => {
      await using visit = await begin()
      const { page, email } = visit
      await signIn(page, email)
      await example.service.restart()
      await example.call(page)
      await page.reload()
      await isShown(page, email)
    })

    test('tells of a session that was revoked from the command line', async () => {
      await using visit = await begin()
      const { page, email } = visit
      await signIn(page, email)
      await example.service.revoke(email, 'a lost laptop')
      await asksToSignIn(page)
      expect(await textOf(page)).toMatch(/Your session was ended.* [\da-f-]{36}:\d+/)
      await page.reload()
      await asksToSignIn(page)
    })

    test('stays signed in while the browser is offline', async () => {
      await using visit = await begin()
      const { context, page, email } = visit
      await signIn(page, email)
      const failed = page.waitForEvent('requestfailed', (request) =>
        request.url().endsWith('/auth/refresh'),
      )
      await context.setOffline(true)
      await failed
      await isShown(page, email)
      await context.setOffline(false)
      await example.call(page)
    })

    test('while the service is away, a page that loads waits for it and asks for no password', async () => {
      await using visit = await begin()
      const { page, email } = visit
      await signIn(page, email)
      await example.service.whileLost('drop-request', async () => {
        await page.reload()
        await page.getByText('Waiting for the network').waitFor()
        expect(await page.locator('[name=password]').count()).toBe(0)
      })
      await isShown(page, email)
    })

    test('shows another person on the same tab nothing of the first', async () => {
      await using visit = await begin()
      const { context, page, email } = visit
      const other = await makeUser(example.service.database.url)
      await signIn(page, email)
      await example.call(page)
      const own = await page.locator('li').allTextContents()
      expect(own).not.toEqual([])
      await signOut(page)
      await asksToSignIn(page)
      await signIn(page, other.email)
      const expectNothing = async (shown: Page) => {
        const text = await textOf(shown)
        for (const one of [email, ...own]) expect(text).not.toContain(one)
      }
      await expectNothing(page)

      // And where the person changes in another tab.
      await signOut(page)
      await signIn(page, email)
      const second = await open(context)
      await isShown(second, email)
      await signOut(page)
      await signIn(page, other.email)
      await isShown(second, other.email)
      await expectNothing(second)
    })

    more(() => example)

    test('none of this was a reuse', async () => {
      expect(await example.service.countOf('reuse_detected')).toBe(0)
    })

    /** A browser with the page, and a new user. */
    async function begin() {
      const { email } = await makeUser(example.service.database.url)
      const context = await browser.newContext()
      const page = await open(context)
      return { context, page, email, [Symbol.asyncDispose]: () => context.close() }
    }

    async function open(context: BrowserContext): Promise<Page> {
      const page = await context.newPage()
      await page.goto(example.url)
      return page
    }
  })
}

/** For pages that list the person's sessions, and say when. */
export async function refreshesList(page: Page): Promise<void> {
  const shownAt = page.getByText('As of')
  const before = await shownAt.innerText()
  await page.getByRole('button', { name: 'Refresh' }).click()
  await expect.poll(() => shownAt.innerText()).not.toBe(before)
}

async function fill(page: Page, email: string, password: string): Promise<void> {
  await page.fill('[name=email]', email)
  await page.fill('[name=password]', password)
  await page.getByRole('button', { name: 'Sign in' }).click()
}

async function signIn(page: Page, email: string): Promise<void> {
  await fill(page, email, testPassword)
  await isShown(page, email)
}

async function signOut(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Sign out' }).click()
}

async function isShown(page: Page, email: string): Promise<void> {
  await page.getByRole('heading', { name: email }).waitFor()
}

async function asksToSignIn(page: Page): Promise<void> {
  await page.waitForSelector('[name=password]')
}

async function textOf(page: Page): Promise<string> {
  return page.locator('body').innerText()
}
