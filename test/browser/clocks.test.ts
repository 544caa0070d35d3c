import { describe, expect, test } from 'vitest'
import { startApp } from '../support/app.ts'
import {
  callProtected,
  expectNoToken,
  hasChromium,
  hasStatus,
  openPage,
  refreshesOf,
  signInOnPage,
  useBrowser,
} from '../support/browser.ts'
import { countAttempts, countKinds, expectNoReuse } from '../support/ledger-counts.ts'
import { makeUser } from '../support/users.ts'

const minuteMs = 60_000
const hourMs = 60 * minuteMs

describe.runIf(hasChromium)('the clock of the device', () => {
  const browser = useBrowser()

  test.each([2, -2])(
    'CL-04: a clock that is wrong by %i hours signs the user in and refreshes on time',
    async (hours) => {
      await using app = await startApp({}, { consoleFolder: browser.consoleFolder })
      const { email } = await makeUser(app.owner.url)
      const context = await browser.newContext()
      await context.clock.install({ time: Date.now() + hours * hourMs })
      const page = await openPage(context, app.url)
      await signInOnPage(page, email)
      await page.clock.runFor(10 * minuteMs)
      expect(await refreshesOf(page)).toBe(0)
      await page.clock.runFor(4 * minuteMs)
      await expect.poll(() => refreshesOf(page)).toBe(1)
      // The clock is set right while the page is open.
      await page.clock.setSystemTime(Date.now())
      await callProtected(page)
      expect(await hasStatus(page, 'signed-in')).toBe('Signed in')
      // Minutes pass while one request is answered: it may time out and be repeated with the same attempt.
      expect(await countAttempts(app)).toBeLessThanOrEqual(2)
      await expectNoToken(page)
    },
  )

  test('CL-04: timers that fire an hour late cause one refresh each, not a storm', async () => {
    await using app = await startApp({}, { consoleFolder: browser.consoleFolder })
    const { email } = await makeUser(app.owner.url)
    const context = await browser.newContext()
    await context.clock.install()
    const page = await openPage(context, app.url)
    await signInOnPage(page, email)
    for (let hours = 1; hours <= 5; hours += 1) {
      await page.clock.fastForward(hourMs)
      await expect.poll(() => refreshesOf(page)).toBe(hours)
      await callProtected(page)
    }
    expect(await hasStatus(page, 'signed-in')).toBe('Signed in')
    expect((await countKinds(app)).rotated).toBe(5)
    await expectNoReuse(app)
  })

  test('access tokens that live two seconds are renewed before they expire', async () => {
    const env = { ACCESS_TOKEN_SECONDS: '2' }
    await using app = await startApp(env, { consoleFolder: browser.consoleFolder })
    const { email } = await makeUser(app.owner.url)
    const page = await openPage(await browser.newContext(), app.url)
    await signInOnPage(page, email)
    await expect.poll(() => refreshesOf(page)).toBeGreaterThanOrEqual(3)
    await callProtected(page)
    await expectNoToken(page)
    await expectNoReuse(app)
  })
})
