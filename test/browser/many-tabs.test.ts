import { build } from 'esbuild'
import { describe, expect } from 'vitest'
import type { createAuthClient as CreateAuthClient } from '../../client/index.ts'
import { startApp } from '../support/app.ts'
import { hasChromium, useBrowser } from '../support/browser.ts'
import { longTest } from '../support/long.ts'
import { countKinds, expectNoReuse } from '../support/ledger-counts.ts'
import { makeUser, testPassword } from '../support/users.ts'

declare const tokenLedger: { createAuthClient: typeof CreateAuthClient }

const tabCount = 70

// test/client/many-tabs.test.ts has the same rule without a browser.
describe.runIf(hasChromium)('70 tabs of one browser', () => {
  const browser = useBrowser()

  longTest(
    'that open at once are all signed in within 10 s',
    async () => {
      await using app = await startApp({ RATE_LIMITS: 'on' })
      const { email } = await makeUser(app.owner.url)
      const context = await browser.newContext({ bypassCSP: true })
      const { outputFiles } = await build({
        entryPoints: ['client/index.ts'],
        bundle: true,
        format: 'iife',
        globalName: 'tokenLedger',
        write: false,
      })
      const tabs = []
      // The pages wait with their script loaded: to load 70 pages takes a small machine a minute.
      while (tabs.length < tabCount) {
        const tab = await context.newPage()
        await tab.goto(`${app.url}/healthz`)
        await tab.addScriptTag({ content: outputFiles[0]!.text })
        tabs.push(tab)
      }
      const familyId = await tabs[0]!.evaluate(
        async (input) => (await tokenLedger.createAuthClient().login(input)).familyId,
        { email, password: testPassword },
      )
      const times = await Promise.all(
        tabs.map((tab) =>
          tab.evaluate(async () => {
            const begun = performance.now()
            const session = await tokenLedger.createAuthClient().restore()
            return session.status === 'signed-in' ? performance.now() - begun : Infinity
          }),
        ),
      )
      const { rotated = 0 } = await countKinds(app, familyId)
      const slowestMs = Math.round(Math.max(...times))
      console.log(`${tabCount} tabs: the slowest took ${slowestMs} ms; ${rotated} refreshes`)
      expect(slowestMs).toBeLessThan(10_000)
      await expectNoReuse(app)
    },
    240_000,
  )
})
