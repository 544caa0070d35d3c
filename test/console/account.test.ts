import { gzipSync } from 'node:zlib'
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { expectNoToken, hasChromium } from '../support/browser.ts'
import { signInOnConsole, useConsole } from '../support/console.ts'
import {
  expectAccessible,
  expectNoSidewaysScroll,
  expectReachableByTab,
  textOf,
} from '../support/console-checks.ts'
import { moveClock } from '../support/clock.ts'
import { auth, mutate } from '../support/http.ts'
import { makeUser, testPassword } from '../support/users.ts'

describe.runIf(hasChromium)('the console, for everyone', () => {
  // The service would take over the time of the sign-in that a test begins long ago.
  const console = useConsole({}, { signingKeyReloadMs: 3_600_000 })

  test('a person signs in, ends all other sessions and signs out by keyboard alone, and axe-core finds no violation', async () => {
    const { email } = await makeUser(console.app.owner.url)
    await signInElsewhere(email)
    await signInElsewhere(email)
    const page = await console.open()
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    await expectAccessible(page)
    await expectNoSidewaysScroll(page)
    await page.keyboard.press('Tab')
    await page.keyboard.type(email)
    await page.keyboard.press('Tab')
    await page.keyboard.type(testPassword)
    await page.keyboard.press('Enter')

    await page.getByRole('rowheader', { name: 'this one' }).waitFor()
    await page.getByText('You signed in').first().waitFor()
    await expectReachableByTab(page)
    await expectAccessible(page)
    await expectNoSidewaysScroll(page)
    await tabTo(page, 'End all others')
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
    await expectAccessible(page)
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    // The browser gives the focus back.
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
    await tabTo(page, 'End all others')
    await page.keyboard.press('Enter')
    await page.getByText('2 sessions were ended.').waitFor()
    await page.getByText('You ended this session from another device').first().waitFor()

    await tabTo(page, 'Sign out')
    await page.keyboard.press('Enter')
    await page.getByText('You signed out.').waitFor()
    expect(await textOf(page)).not.toContain(email)
    await expectNoToken(page)
    await page.context().close()
  })

  test('names and user agents full of markup, marks and emoji are text, and break no layout', async () => {
    const { email } = await makeUser(console.app.owner.url)
    const deviceName = '<img src=x onerror=alert(1)>\u202Eevil\u202C👩‍👩‍👧‍👦'
    const userAgent = `"><script>alert(1)</script>${'W'.repeat(8_000)}`
    await signInElsewhere(email, { deviceName })
    await signInElsewhere(email, {}, userAgent)
    const page = await console.open()
    page.on('dialog', () => console.offences.push('a script of a name has run'))
    await signInOnConsole(page, email)
    await page.getByRole('rowheader', { name: '<img src=x onerror=alert(1)>' }).waitFor()
    await page.getByRole('rowheader', { name: '"><script>' }).waitFor()
    expect(await page.locator('main img, main script').count()).toBe(0)
    await expectNoSidewaysScroll(page)
    await expectNoToken(page)
    await page.context().close()
  })

  test('a plain user gets no hint of what admins see: no link, no call, and the account at every address', async () => {
    const { email } = await makeUser(console.app.owner.url)
    const page = await console.open('sessions?person=a')
    const calls: string[] = []
    page.on('request', (request) => calls.push(request.url()))
    await signInOnConsole(page, email)
    await page.getByRole('heading', { name: 'Your account' }).waitFor()
    expect(page.url()).toBe(`${console.app.url}/console/account`)
    expect(await page.getByRole('navigation').getByRole('link').allInnerTexts()).toEqual([
      'Your account',
    ])
    expect(calls.filter((url) => url.includes('admin'))).toEqual([])
    expect(await textOf(page)).not.toMatch(/admin|Sessions|Ledger|Overview|Users/)
    await page.context().close()
  })

  test('a session that was ended elsewhere says why at the next thing that is done, with its incident id', async () => {
    const { email } = await makeUser(console.app.owner.url)
    const page = await console.open()
    await signInOnConsole(page, email)
    await page.getByText('You signed in').first().waitFor()
    const { accessToken } = await signInElsewhere(email)
    const { status } = await mutate(console.app.url, 'sessions.revokeOthers', accessToken, {})
    expect(status).toBe(200)
    await page.getByRole('button', { name: 'Change the password' }).waitFor()
    for (const label of ['Current password', 'New password', 'New password, again'])
      await page.getByLabel(label, { exact: true }).fill(testPassword)
    await page.getByRole('button', { name: 'Change the password' }).click()
    await page.getByText('Your session was ended').waitFor()
    expect(await page.locator('code').innerText()).toMatch(/^[\da-f-]{36}:\d+$/)
    expect(await textOf(page)).not.toContain(email)
    await expectAccessible(page)
    await page.context().close()
  })

  test('a person whose sign-in is too long ago enters the password again, and the act goes on by itself', async () => {
    const { ownerSql, url } = console.app.owner
    const { email } = await makeUser(url)
    await moveClock(ownerSql, -11 * 60_000)
    const page = await console.open()
    await signInOnConsole(page, email)
    await moveClock(ownerSql, 0)
    await signInElsewhere(email)
    await page.reload()
    await page.getByRole('button', { name: 'End all others' }).click()
    const confirm = page.getByRole('dialog', { name: 'End all other sessions?' })
    await confirm.getByRole('button', { name: 'End all others' }).click()

    const question = page.getByRole('dialog', { name: 'Enter your password again' })
    await question.waitFor()
    await expectAccessible(page)
    await question.getByRole('button', { name: 'Cancel' }).click()
    await confirm.getByText('Your password is needed for that. Nothing was changed.').waitFor()

    await confirm.getByRole('button', { name: 'End all others' }).click()
    await question.getByLabel('Your password').fill('another password')
    await page.keyboard.press('Enter')
    await question.getByText('The password is wrong.').waitFor()
    await question.getByLabel('Your password').fill(testPassword)
    await page.keyboard.press('Enter')
    await confirm.waitFor({ state: 'detached' })
    await expect.poll(() => page.getByRole('rowheader').count()).toBe(1)
    await expectNoToken(page)
    await page.context().close()
  })

  test('while it is not known who is there, the page shows neither form nor account, and says what it waits for', async () => {
    const { email } = await makeUser(console.app.owner.url)
    const page = await console.open()
    await signInOnConsole(page, email)
    await page.route('**/auth/refresh', (route) => route.abort())
    await page.reload()
    await page.getByText('The service cannot be reached.').waitFor()
    expect(await page.locator('form, nav').count()).toBe(0)
    expect(await textOf(page)).not.toContain(email)
    await page.unroute('**/auth/refresh')
    // The client asks again at once when the connection is back, and otherwise after some seconds.
    await page.evaluate(() => window.dispatchEvent(new Event('online')))
    await page.getByRole('heading', { name: 'Your account' }).waitFor()
    await page.context().close()
  })

  test('the first load is at most 180 kB of gzipped script', async () => {
    const page = await console.open()
    const sizes: Promise<number>[] = []
    page.on('response', (response) => {
      if (response.request().resourceType() === 'script')
        sizes.push(response.body().then((code) => gzipSync(code).length))
    })
    await page.reload()
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    await page.waitForLoadState('networkidle')
    // The entry, and the screen that it loads.
    expect(sizes.length).toBeGreaterThan(1)
    const total = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
    expect(total).toBeGreaterThan(50_000)
    expect(total).toBeLessThan(180_000)
    await page.context().close()
  })

  async function signInElsewhere(email: string, input: object = {}, userAgent = 'another device') {
    const credentials = { email, password: testPassword, transport: 'body', ...input }
    const answer = await auth(console.app.url, 'login', credentials, { 'user-agent': userAgent })
    expect(answer.status).toBe(200)
    return answer.data as { accessToken: string }
  }
})

/** Presses Tab until the focus is on the button of that name. */
async function tabTo(page: Page, name: string): Promise<void> {
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press('Tab')
    if ((await page.evaluate(() => document.activeElement?.textContent)) === name) return
  }
  throw new Error(`Tab does not reach "${name}"`)
}
