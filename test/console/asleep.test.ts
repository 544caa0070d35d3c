import { setTimeout as sleep } from 'node:timers/promises'
import type { BrowserContext, Page } from 'playwright-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { hasChromium } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { signInOnConsole, useConsole } from '../support/console.ts'
import { longTest } from '../support/long.ts'
import { makeUser } from '../support/users.ts'

const hourMs = 3_600_000
const away = '**/{auth,trpc}/**'

/** Attempts of one tab in the minute after it woke up without a service: refreshes, streams and questions. */
const mostOfTab = 20

describe.runIf(hasChromium)('a laptop that slept', () => {
  // The service takes over the time of its database at once.
  const rig = useConsole({}, { signingKeyReloadMs: 50 })
  let admin: Awaited<ReturnType<typeof makeUser>>
  let hoursSlept = 0

  beforeAll(async () => {
    admin = await makeUser(rig.app.owner.url, undefined, 'admin')
  })

  test('two tabs that wake up with expired tokens and no service say what they wait for, go on with one refresh each at most, and nobody is signed out', async () => {
    const [overview, ledger] = await openTabs(['overview', 'ledger'])
    await overview!.getByText('Active sessions').waitFor()
    await ledger!.getByText('Live', { exact: true }).waitFor()
    const context = overview!.context()
    const before = await eventsOf()
    const asked = await takeAway(context)

    await fallAsleep(context, 8)
    await passSeconds(context, 60)
    for (const tab of [overview!, ledger!]) {
      await tab.getByText('The service cannot be reached.').first().waitFor()
      await tab.getByRole('button', { name: 'Sign out' }).waitFor()
    }
    await ledger!.getByText('Waiting for the service').waitFor()
    expect(asked.count).toBeGreaterThan(2)
    expect(asked.count).toBeLessThanOrEqual(2 * mostOfTab)
    expect(await eventsOf()).toEqual(before)

    await context.unroute(away)
    await passSeconds(context, 90)
    await ledger!.getByText('Live', { exact: true }).waitFor()
    for (const tab of [overview!, ledger!])
      await expect.poll(() => tab.getByText('The service cannot be reached.').count()).toBe(0)
    await expectRefreshes(before, 2)
    await context.close()
  })

  longTest(
    'every screen goes on by itself after a night in which the browser froze it',
    async () => {
      const tabs = await openTabs([
        'account',
        'overview',
        'sessions',
        'incidents',
        'users',
        'ledger',
        'ledger/search',
        'ledger/proof',
        'ledger/admins',
      ])
      const context = tabs[0]!.context()
      const before = await eventsOf()
      const asked = countRequests(context)
      for (const tab of tabs) await setLifecycle(tab, 'frozen')
      await fallAsleep(context, 8)
      for (const tab of tabs) await setLifecycle(tab, 'active')
      await passSeconds(context, 60)
      for (const tab of tabs) {
        await tab.getByRole('button', { name: 'Sign out' }).waitFor()
        await tab.getByRole('heading', { level: 1 }).waitFor()
        expect(await tab.getByRole('alert').count()).toBe(0)
      }
      expect(asked.count).toBeLessThanOrEqual(tabs.length * mostOfTab)
      await expectRefreshes(before, tabs.length)
      await context.close()
    },
  )

  /** Tabs of one browser profile, whose person signs in on the first of them. */
  async function openTabs(paths: readonly string[]): Promise<Page[]> {
    const [first, ...others] = paths
    const page = await rig.open(first)
    await page.context().clock.install({ time: Date.now() + hoursSlept * hourMs })
    await page.reload()
    await signInOnConsole(page, admin.email)
    const tabs = [page]
    for (const path of others) {
      const tab = await page.context().newPage()
      await tab.goto(`${rig.app.url}/console/${path}`)
      await tab.getByRole('heading', { level: 1 }).waitFor()
      tabs.push(tab)
    }
    return tabs
  }

  /** Time passes for the service, and for timers in the tabs as when a lid is closed and opened. */
  async function fallAsleep(context: BrowserContext, hours: number): Promise<void> {
    hoursSlept += hours
    await moveClock(rig.app.owner.ownerSql, hoursSlept * hourMs)
    await context.clock.fastForward(hours * hourMs)
  }

  /**
   * Between one and this many since then, no reuse and no end. An answer may take longer than seconds of the tabs' clock,
   * so that a tab gives up and repeats the attempt.
   */
  async function expectRefreshes(before: Record<string, number>, most: number): Promise<void> {
    const after = await eventsOf()
    expect(after).toMatchObject({ issued: before.issued })
    expect(Object.keys(after)).not.toContain('reuse_detected')
    expect(Object.keys(after)).not.toContain('revoked')
    const refreshes = after.rotated! - (before.rotated ?? 0)
    expect(refreshes).toBeGreaterThan(0)
    expect(refreshes).toBeLessThanOrEqual(most)
  }

  async function eventsOf(): Promise<Record<string, number>> {
    const rows = await rig.app.owner.ownerSql<{ kind: string; count: number }[]>`
      select e.kind, count(*)::integer as count
      from token_ledger.token_event e
      join token_ledger.token_family f using (family_id)
      where f.user_id = ${admin.id}
      group by e.kind`
    return Object.fromEntries(rows.map(({ kind, count }) => [kind, count]))
  }
})

/** Lets the clock of the tabs run fast, and leaves their requests the time to be answered. */
async function passSeconds(context: BrowserContext, seconds: number): Promise<void> {
  const step = 5
  for (let passed = 0; passed < seconds; passed += step) {
    await context.clock.runFor(step * 1_000)
    await sleep(20)
  }
}

/** From now on no request reaches the service. */
async function takeAway(context: BrowserContext): Promise<{ count: number }> {
  await context.route(away, (route) => route.abort('connectionrefused'))
  return countRequests(context)
}

function countRequests(context: BrowserContext): { count: number } {
  const asked = { count: 0 }
  context.on('request', () => (asked.count += 1))
  return asked
}

async function setLifecycle(page: Page, state: 'frozen' | 'active'): Promise<void> {
  const devtools = await page.context().newCDPSession(page)
  await devtools.send('Page.setWebLifecycleState', { state })
  await devtools.detach()
}
