import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { hasChromium } from '../support/browser.ts'
import { signInOnConsole, useConsole } from '../support/console.ts'
import { makeDemoLedger, type DemoLedger } from '../support/demo-ledger.ts'

/** `npm run screenshots` writes them here. */
const folder = process.env.SCREENSHOTS
const wide = { width: 1280, height: 800 }

describe.runIf(hasChromium && folder !== undefined)('screenshots of the console', () => {
  const console = useConsole({ TRUSTED_PROXIES: '127.0.0.1/32' })
  let demo: DemoLedger

  beforeAll(async () => {
    demo = await makeDemoLedger(console.app.url, console.app.owner)
    mkdirSync(folder!, { recursive: true })
  })

  test.each(['light', 'dark'] as const)('%s', async (colorScheme) => {
    const options = { viewport: wide, colorScheme, locale: 'en-GB', timezoneId: 'Europe/Berlin' }
    const visitor = await console.open('', options)
    await visitor.getByRole('heading', { name: 'Sign in' }).waitFor()
    await save(visitor, 'sign-in', colorScheme)
    await signInOnConsole(visitor, demo.person)
    await visitor.getByText('You signed in').first().waitFor()
    await save(visitor, 'account', colorScheme)
    await visitor.context().close()

    const page = await console.open('sessions', options)
    await signInOnConsole(page, demo.admin)
    await page.getByRole('link', { name: demo.person }).first().waitFor()
    await save(page, 'sessions', colorScheme)
    for (const [name, familyId] of [
      ['session', demo.stolen],
      ['session-active', demo.lively],
    ] as const) {
      await page.goto(`${console.app.url}/console/sessions/${familyId}`)
      await page.getByRole('img', { name: /^Timeline/ }).waitFor()
      await page.getByRole('status').filter({ hasText: 'generation' }).waitFor()
      await save(page, name, colorScheme)
    }
    await page.context().close()
    expect(console.offences).toEqual([])
  })

  test.each(['light', 'dark'] as const)(
    'of the service and its ledger, %s',
    async (colorScheme) => {
      const options = { viewport: wide, colorScheme, locale: 'en-GB', timezoneId: 'Europe/Berlin' }
      const page = await console.open('overview', options)
      await signInOnConsole(page, demo.admin)
      for (const [path, loaded] of [
        ['overview', 'A spent token came back'],
        ['incidents', 'Speaks for theft'],
        ['users', 'Make administrator'],
        ['ledger/search', 'reuse detected'],
      ] as const) {
        await page.goto(`${console.app.url}/console/${path}`)
        await page.getByRole('main').getByText(loaded).locator('visible=true').first().waitFor()
        await save(page, path.split('/')[0]!, colorScheme)
      }
      await page.context().close()
    },
  )
})

async function save(page: Page, name: string, colorScheme: string): Promise<void> {
  const path = join(folder!, `${name}-${colorScheme}.png`)
  await page.screenshot({ path, fullPage: true, animations: 'disabled' })
}
