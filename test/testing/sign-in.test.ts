import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { signInForTest } from '../../client/testing/index.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { hasChromium, hasStatus, openPage, useBrowser } from '../support/browser.ts'
import { makeUser, testPassword } from '../support/users.ts'

describe.runIf(hasChromium)('signInForTest, in Chromium', () => {
  const browser = useBrowser()
  let app: TestApp
  beforeAll(async () => {
    app = await startApp({}, { consoleFolder: browser.consoleFolder })
  })
  afterAll(() => app?.[Symbol.asyncDispose]())

  test('each context gets a session of its own, and the app of the page takes it up', async () => {
    const { email } = await makeUser(app.owner.url)
    const signIn = { baseUrl: app.url, email, password: testPassword }
    const pages = await Promise.all(
      [1, 2].map(async () => openPage(await browser.newContext(), app.url)),
    )
    const families = new Set<string | null>()
    for (const page of pages) {
      await signInForTest(page, signIn)
      await page.reload()
      await hasStatus(page, 'signed-in')
      expect(await page.textContent('body')).toContain(email)
      families.add(
        await page.evaluate((url) => localStorage.getItem(`token-ledger ${url} family`), app.url),
      )
    }
    expect(families.size).toBe(2)
    // The first is still signed in: no context has spent the token of another.
    await pages[0]!.reload()
    await hasStatus(pages[0]!, 'signed-in')
  })

  test('a refused sign-in fails the test with the reason', async () => {
    const page = await openPage(await browser.newContext(), app.url)
    const wrong = { baseUrl: app.url, email: 'no-one@example.com', password: testPassword }
    await expect(signInForTest(page, wrong)).rejects.toThrow('invalid_credentials')
    const blank = await (await browser.newContext()).newPage()
    await expect(signInForTest(blank, wrong)).rejects.toThrow('open a page of the app first')
  })
})
