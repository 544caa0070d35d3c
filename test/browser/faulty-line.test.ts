import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import {
  expectNoToken,
  hasChromium,
  hasStatus,
  openPage,
  signInOnPage,
  useBrowser,
} from '../support/browser.ts'
import { moveClock, passMinutes } from '../support/clock.ts'
import { countAttempts, countKinds, expectNoReuse } from '../support/ledger-counts.ts'
import { hold, noFault, randomFault, seeded, startBehindProxy } from '../support/proxy.ts'
import { makeUser } from '../support/users.ts'
import { repeats } from '../support/long.ts'

const seed = 20_260_817
const refreshes = repeats(80, 500)
const minuteMs = 60_000

describe.runIf(hasChromium)('on a faulty connection', () => {
  const browser = useBrowser()

  test('CL-01, CL-03 (RFC 10017 §8.4, ASVS 14.3.3): many refreshes sign no tab out, whatever is dropped, delayed, doubled or cut', async () => {
    await using behind = await startBehindProxy(browser)
    const { app, proxy } = behind
    const { email } = await makeUser(app.owner.url)
    const context = await browser.newContext()
    const first = await openPage(context, proxy.url)
    await signInOnPage(first, email)
    const tabs = [first, await openPage(context, proxy.url)]
    for (const page of tabs) await hasStatus(page, 'signed-in')
    const random = seeded(seed)
    proxy.chooseFault = (path) => (path === '/auth/refresh' ? randomFault(random) : noFault)
    {
      // The grace window soon ends after each refresh: a lost answer can still be repaired.
      await using _ = passMinutes(app.owner.ownerSql)
      await Promise.all(tabs.map((page) => refreshAgain(page, refreshes / tabs.length)))
    }
    proxy.chooseFault = () => noFault
    for (const page of tabs) {
      expect(await hasStatus(page, 'signed-in')).toContain('Signed in')
      await expectNoToken(page)
    }
    const { replayed = 0, rotated = 0 } = await countKinds(app)
    expect(rotated + replayed).toBeGreaterThanOrEqual(refreshes)
    expect(replayed).toBeGreaterThan(refreshes / 50)
    await expectNoReuse(app)
  }, 300_000)

  test('another tab repairs a lost answer after the first tab was closed and the grace window is over', async () => {
    await using behind = await startBehindProxy(browser)
    const { app, proxy } = behind
    const { email } = await makeUser(app.owner.url)
    const context = await browser.newContext()
    const page = await openPage(context, proxy.url)
    await signInOnPage(page, email)
    const held = hold()
    proxy.chooseFault = (path) => (path === '/auth/refresh' ? held.fault : noFault)
    await page.click('#refresh')
    await expect.poll(async () => (await countKinds(app)).rotated).toBe(1)
    proxy.chooseFault = () => noFault
    await page.close()
    await moveClock(app.owner.ownerSql, minuteMs)
    const next = await openPage(context, proxy.url)
    expect(await hasStatus(next, 'signed-in')).toBe('Signed in')
    expect(await countKinds(app)).toMatchObject({ rotated: 1, replayed: 1 })
    held.release()
    await expectNoReuse(app)
  })

  test('the page itself repairs a lost answer after a reload', async () => {
    await using behind = await startBehindProxy(browser)
    const { app, proxy } = behind
    const { email } = await makeUser(app.owner.url)
    const page = await openPage(await browser.newContext(), proxy.url)
    await signInOnPage(page, email)
    // Until the new page asks for its script: the old page retries meanwhile and must not succeed.
    let isReloaded = false
    proxy.chooseFault = (path) => {
      isReloaded ||= path.endsWith('/page.js')
      return path === '/auth/refresh' && !isReloaded ? { kind: 'drop-answer' } : noFault
    }
    await page.click('#refresh')
    await expect.poll(async () => (await countKinds(app)).replayed).toBeGreaterThanOrEqual(1)
    await moveClock(app.owner.ownerSql, minuteMs)
    await page.reload()
    expect(await hasStatus(page, 'signed-in')).toBe('Signed in')
    expect(isReloaded).toBe(true)
    expect(await countAttempts(app)).toBe(1)
    await expectNoReuse(app)
  })

  test('an older cookie that arrives after a newer one does no harm', async () => {
    await using behind = await startBehindProxy(browser)
    const { app, proxy } = behind
    const { email } = await makeUser(app.owner.url)
    const context = await browser.newContext()
    await context.addInitScript(() => {
      Reflect.deleteProperty(Navigator.prototype, 'locks')
    })
    const slow = await openPage(context, proxy.url)
    await signInOnPage(slow, email)
    const quick = await openPage(context, proxy.url)
    await hasStatus(quick, 'signed-in')
    const held = hold()
    proxy.chooseFault = (path) => (path === '/auth/refresh' ? held.fault : noFault)
    await slow.click('#refresh')
    await expect.poll(async () => (await countKinds(app)).rotated).toBe(2)
    proxy.chooseFault = () => noFault
    await refreshAgain(quick, 2)
    expect(await countKinds(app)).toMatchObject({ rotated: 3, replayed: 1 })
    held.release()
    // The browser holds a spent token now, and asks for the newest by itself.
    await expect.poll(async () => (await countKinds(app)).replayed).toBe(2)
    await moveClock(app.owner.ownerSql, minuteMs)
    await refreshAgain(slow, 1)
    await refreshAgain(quick, 1)
    await expectNoReuse(app)
  })
})

/** Refreshes this many times, and repeats each that failed; runs in the page, where it is quick. */
async function refreshAgain(page: Page, times: number): Promise<void> {
  await page.evaluate(async (wanted) => {
    const [status, refreshed, problem, button] = ['status', 'refreshes', 'problem', 'refresh'].map(
      (id) => document.querySelector<HTMLElement>(`#${id}`)!,
    ) as [HTMLElement, HTMLElement, HTMLElement, HTMLElement]
    const count = () => Number(/\d+/.exec(refreshed.textContent)![0])
    for (const goal = count() + wanted; count() < goal;) {
      if (status.dataset.status !== 'signed-in') throw new Error(status.innerText)
      const before = count()
      button.click()
      while (count() === before && problem.hidden)
        await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }, times)
}
