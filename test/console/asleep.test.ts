import { setTimeout as sleep } from 'node:timers/promises'
import type { BrowserContext, Page, Request } from 'playwright-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { hasChromium } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { signInOnConsole, useConsole } from '../support/console.ts'
import { auth, mutate } from '../support/http.ts'
import { longTest } from '../support/long.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

const hourMs = 3_600_000
const away = '**/{auth,trpc}/**'

/** Attempts of one tab in the minute after it woke up without a service: refreshes, streams and questions. */
const mostOfTab = 20

type Night = { readonly guest: string; readonly robbed: string; readonly reason: string }

/** Each screen, and what it shows of the night. */
const screens: readonly (readonly [string, (night: Night) => string | null])[] = [
  // Its sessions are counted.
  ['account', () => null],
  ['overview', ({ robbed }) => robbed],
  ['sessions', ({ guest }) => guest],
  ['incidents', ({ robbed }) => robbed],
  ['users', ({ guest }) => guest],
  ['ledger', ({ guest }) => guest],
  ['ledger/search', ({ guest }) => guest],
  // Checkpoints are signed by the clock of the service's process, for which no night has passed.
  ['ledger/proof', () => null],
  ['ledger/admins', ({ reason }) => reason],
]

describe.runIf(hasChromium)('a laptop that slept', () => {
  // The service takes over the time of its database at once.
  const rig = useConsole({}, { signingKeyReloadMs: 50 })
  let admin: Awaited<ReturnType<typeof makeUser>>
  let hoursSlept = 0

  beforeAll(async () => {
    admin = await makeUser(rig.app.owner.url, undefined, 'admin')
  })

  test('two tabs that wake up with expired tokens and no service say what they wait for, go on with one refresh each at most, and stay signed in', async () => {
    const [overview, ledger] = await openTabs(['overview', 'ledger'])
    await overview!.getByText('Active sessions').waitFor()
    await ledger!.getByText('Live', { exact: true }).waitFor()
    const context = overview!.context()
    const before = await eventsOf()
    const refreshes = [overview!, ledger!].map(countRefreshes)
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
    const live = ledger!.getByText('Live', { exact: true })
    await passSeconds(context, 300, () => live.isVisible())
    await live.waitFor()
    for (const tab of [overview!, ledger!])
      await expect.poll(() => tab.getByText('The service cannot be reached.').count()).toBe(0)
    await expectRefreshes(before, 2)
    for (const { count } of refreshes) expect(count).toBeLessThanOrEqual(1)
    await context.close()
  })

  longTest(
    'every screen goes on by itself after a night in which the browser froze it',
    async () => {
      const robbed = await signIn(rig.app)
      await auth(rig.app.url, 'refresh', { refreshToken: robbed.refreshToken })
      const tabs = await openTabs(screens.map(([path]) => path))
      const context = tabs[0]!.context()
      const ownSessions = tabs[0]!.getByRole('rowheader')
      await ownSessions.getByText('this one').waitFor()
      const evening = await ownSessions.count()
      const before = await eventsOf()
      const asked = countRequests(context)
      for (const tab of tabs) await setLifecycle(tab, 'frozen')
      await fallAsleep(context, 8)

      // A spent token comes back, a person signs in, and the admin acts on another device.
      await auth(rig.app.url, 'refresh', { refreshToken: robbed.refreshToken })
      const guest = await signIn(rig.app)
      const { accessToken } = await signIn(rig.app, admin.email)
      const act = { userId: robbed.userId, reason: 'what happened at night' }
      await mutate(rig.app.url, 'admin.users.revokeSessions', accessToken, act)

      for (const tab of tabs) await setLifecycle(tab, 'active')
      await passSeconds(context, 60)
      for (const [i, tab] of tabs.entries()) {
        // As a browser says when its reader looks at the tab.
        await tab.evaluate(() => window.dispatchEvent(new Event('visibilitychange')))
        const [path, changed] = screens[i]!
        const text = changed({ guest: guest.email, robbed: robbed.email, reason: act.reason })
        await tab.getByRole('button', { name: 'Sign out' }).waitFor()
        if (text !== null)
          await waitFor(
            async () => (await tab.getByRole('main').innerText()).includes(text),
            `${path} shows ${text}`,
          )
        expect(await tab.getByRole('alert').count()).toBe(0)
      }
      await expect.poll(() => ownSessions.count()).toBe(evening + 1)
      expect(asked.count).toBeLessThanOrEqual(tabs.length * mostOfTab)
      await expectRefreshes({ ...before, issued: before.issued! + 1 }, tabs.length)
      await context.close()
    },
  )

  /** Tabs of one browser profile, whose person signs in on the first of them. */
  async function openTabs(paths: readonly string[]): Promise<Page[]> {
    const [first, ...others] = paths
    const page = await rig.open(first)
    watchRequests(page.context())
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

  /** Between one and this many since then, no reuse and no end. */
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

const unanswered = new WeakMap<BrowserContext, Set<Request>>()

/** Notes which requests of the tabs wait for their answer. An event stream is answered once it has begun. */
function watchRequests(context: BrowserContext): void {
  const requests = new Set<Request>()
  unanswered.set(context, requests)
  context.on('request', (request) => requests.add(request))
  context.on('requestfinished', (request) => requests.delete(request))
  context.on('requestfailed', (request) => requests.delete(request))
  context.on('response', (response) => {
    if (response.headers()['content-type']?.startsWith('text/event-stream') === true)
      requests.delete(response.request())
  })
}

/** Lets the clock of the tabs run fast, but not while a request waits: a tab would give up before the answer. */
async function passSeconds(
  context: BrowserContext,
  seconds: number,
  isEnough: () => Promise<boolean> = () => Promise.resolve(false),
): Promise<void> {
  const step = 2
  for (let passed = 0; passed < seconds && !(await isEnough()); passed += step) {
    await context.clock.runFor(step * 1_000)
    // A request that a timer has caused is noticed a moment later.
    await sleep(20)
    await waitFor(() => unanswered.get(context)!.size === 0, 'every request has its answer')
  }
}

/** From now on no request reaches the service. */
async function takeAway(context: BrowserContext): Promise<{ count: number }> {
  await context.route(away, (route) => route.abort('connectionrefused'))
  return countRequests(context)
}

/** Refreshes of this tab that the service has answered with a token. */
function countRefreshes(page: Page): { readonly count: number } {
  const answered = { count: 0 }
  page.on('response', (response) => {
    if (response.ok() && response.url().endsWith('/auth/refresh')) answered.count += 1
  })
  return answered
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
