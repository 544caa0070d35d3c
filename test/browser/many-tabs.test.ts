import { describe, expect } from 'vitest'
import { startApp } from '../support/app.ts'
import {
  hasChromium,
  hasStatus,
  openExample,
  signInOnPage,
  useBrowser,
} from '../support/browser.ts'
import { longTest } from '../support/cluster.ts'
import { countKinds, expectNoReuse } from '../support/ledger-counts.ts'
import { makeUser } from '../support/users.ts'

const tabCount = 70

// test/client/many-tabs.test.ts has the same rule without a browser.
describe.runIf(hasChromium)('70 tabs of one browser', () => {
  const browser = useBrowser()

  longTest(
    'all are signed in within 10 s of a restart that reloads them at once',
    async () => {
      await using app = await startApp(
        { RATE_LIMITS: 'on' },
        { exampleFolder: browser.exampleFolder },
      )
      const { email } = await makeUser(app.owner.url)
      const context = await browser.newContext()
      const first = await openExample(context, app.url)
      await signInOnPage(first, email)
      const tabs = [first]
      while (tabs.length < tabCount) {
        const tab = await context.newPage()
        // A page of the origin that does nothing yet.
        await tab.goto(`${app.url}/healthz`)
        tabs.push(tab)
      }
      const { rotated: before = 0 } = await countKinds(app)
      const begun = performance.now()
      await Promise.all(
        tabs.map(async (tab) => {
          await tab.goto(`${app.url}/example/`, { waitUntil: 'commit' })
          expect(await hasStatus(tab, 'signed-in', 60_000)).toBe('Signed in')
        }),
      )
      const tookMs = performance.now() - begun
      const { rotated = 0 } = await countKinds(app)
      console.log(`${tabCount} tabs: ${Math.round(tookMs)} ms, ${rotated - before} refreshes`)
      expect(tookMs).toBeLessThan(10_000)
      await expectNoReuse(app)
    },
    240_000,
  )
})
