import { setTimeout as sleep } from 'node:timers/promises'
import type { BrowserContext, Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import {
  hasChromium,
  hasStatus,
  openPage,
  refreshesOf,
  signInOnPage,
  type TestBrowser,
  useBrowser,
} from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { countKinds, expectNoReuse } from '../support/ledger-counts.ts'
import { hold, noFault, startBehindProxy } from '../support/proxy.ts'
import { makeUser } from '../support/users.ts'
import { repeats } from '../support/long.ts'

const quarterHourMs = 15 * 60 * 1000

const rounds = repeats(4, 20)

describe.runIf(hasChromium)('six tabs that share one cookie', () => {
  const browser = useBrowser()

  test('CL-02: six tabs whose tokens expire at once, again and again, stay signed in', async () => {
    await using app = await startApp({}, { consoleFolder: browser.consoleFolder })
    const tabs = await openTabs(browser, app)
    for (const rotated of await race(app, tabs)) expect(rotated).toBeLessThanOrEqual(tabs.length)
  }, 240_000)

  test('CL-02: six tabs stay signed in without Web Locks as well', async () => {
    await using app = await startApp({}, { consoleFolder: browser.consoleFolder })
    const tabs = await openTabs(browser, app, app.url, withoutLocks)
    expect(await tabs[0]!.evaluate(() => 'locks' in navigator)).toBe(false)
    // One rotation a tab, and one more each to repair the cookie order: no round causes a storm.
    expect(sum(await race(app, tabs))).toBeLessThanOrEqual(2 * tabs.length * rounds)
  }, 240_000)

  test('CL-02: the other tabs go on when the tab that holds the lock is closed', async () => {
    await using behind = await startBehindProxy(browser)
    const { app, proxy } = behind
    const tabs = await openTabs(browser, app, proxy.url)
    const [holder, ...others] = tabs as [Page, ...Page[]]
    const before = await Promise.all(others.map(refreshesOf))
    const held = hold()
    proxy.chooseFault = (path) => (path === '/auth/refresh' ? held.fault : noFault)
    await holder.click('#refresh')
    await expect.poll(() => proxy.seen.at(-1)).toBe('/auth/refresh')
    proxy.chooseFault = () => noFault
    await holder.clock.fastForward(quarterHourMs)
    await holder.close()
    for (const [index, page] of others.entries())
      await expect.poll(() => refreshesOf(page)).toBeGreaterThan(before[index]!)
    held.release()
    await moveClock(app.owner.ownerSql, quarterHourMs)
    await others[0]!.clock.fastForward(quarterHourMs)
    await settled(others)
    for (const page of others) expect(await hasStatus(page, 'signed-in')).toBe('Signed in')
    await expectNoReuse(app)
  }, 120_000)

  const networks: [string, string[], BrowserContextChange][] = [
    ['IPv4 and IPv6', ['192.0.2.7', '2001:db8:1::7'], async () => {}],
    ['IPv4 and IPv6, without Web Locks', ['192.0.2.7', '2001:db8:1::7'], withoutLocks],
    [
      'three networks, without Web Locks',
      ['192.0.2.7', '198.51.100.9', '203.0.113.4'],
      withoutLocks,
    ],
  ]
  test.each(networks.slice(0, repeats(1, networks.length)))(
    'CL-02: six tabs stay signed in while their requests come in turn from %s',
    async (_what, addresses, prepare) => {
      await using behind = await startBehindProxy(browser, { TRUSTED_PROXIES: '127.0.0.1/32' })
      const { app, proxy } = behind
      let asked = 0
      proxy.chooseAddress = () => addresses[asked++ % addresses.length]!
      const tabs = await openTabs(browser, app, proxy.url, prepare)
      await race(app, tabs, 5)
      const ips = await app.owner.ownerSql`
        select distinct host(ip) as ip from token_audit.events where kind <> 'issued'`
      expect(ips.length).toBeGreaterThan(1)
    },
    120_000,
  )
})

type BrowserContextChange = (context: BrowserContext) => Promise<unknown>

async function openTabs(
  browser: TestBrowser,
  app: TestApp,
  url = app.url,
  prepare: BrowserContextChange = async () => {},
): Promise<Page[]> {
  const { email } = await makeUser(app.owner.url)
  const context = await browser.newContext()
  await prepare(context)
  await context.clock.install()
  const first = await openPage(context, url)
  await signInOnPage(first, email)
  const others = await Promise.all(Array.from({ length: 5 }, () => openPage(context, url)))
  await Promise.all(others.map((page) => hasStatus(page, 'signed-in')))
  return [first, ...others]
}

function withoutLocks(context: BrowserContext): Promise<unknown> {
  return context.addInitScript(() => {
    Reflect.deleteProperty(Navigator.prototype, 'locks')
  })
}

/** @returns how many rotations there were in each round: at least one */
async function race(app: TestApp, tabs: readonly Page[], howOften = rounds): Promise<number[]> {
  const [{ clock }] = tabs as [Page]
  const rotations: number[] = []
  for (let round = 1; round <= howOften; round += 1) {
    const before = await Promise.all(tabs.map(refreshesOf))
    const { rotated: rotatedBefore = 0 } = await countKinds(app)
    // The clock belongs to the context: all tabs move together.
    await clock.fastForward(quarterHourMs)
    for (const [index, page] of tabs.entries())
      await expect.poll(() => refreshesOf(page)).toBeGreaterThan(before[index]!)
    await settled(tabs)
    const { rotated = 0 } = await countKinds(app)
    expect(rotated).toBeGreaterThan(rotatedBefore)
    rotations.push(rotated - rotatedBefore)
    // The grace window of this round is over before the next, so it forgives nothing there.
    await moveClock(app.owner.ownerSql, round * quarterHourMs)
  }
  for (const page of tabs) expect(await hasStatus(page, 'signed-in')).toBe('Signed in')
  await expectNoReuse(app)
  return rotations
}

/** Waits until no tab refreshes for three seconds: longer than a tab waits to repair the cookie order. */
async function settled(tabs: readonly Page[]): Promise<void> {
  const [{ clock }] = tabs as [Page]
  const count = async () => String(await Promise.all(tabs.map(refreshesOf)))
  for (let before = ''; before !== (await count()); await sleep(300)) {
    before = await count()
    await clock.runFor(3_000)
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
