import type { Page } from 'playwright-core'
import { beforeAll, describe, test } from 'vitest'
import { hasChromium } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { signInOnConsole, useConsole } from '../support/console.ts'
import { auth } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'
import { expectAccessible, expectFits } from '../support/screens.ts'
import { makeUser } from '../support/users.ts'

describe.runIf(hasChromium)('the screens of admins', () => {
  const rig = useConsole()
  let page: Page

  beforeAll(async () => {
    const { owner, url } = rig.app
    const admin = await makeUser(owner.url, undefined, 'admin')
    const { refreshToken } = await signIn(rig.app)
    await auth(url, 'refresh', { refreshToken })
    await moveClock(owner.ownerSql, 11_000)
    await auth(url, 'refresh', { refreshToken }, { 'user-agent': 'another program' })
    page = await rig.open()
    await signInOnConsole(page, admin.email)
  })

  /** Follows a link by keyboard, and waits for what only the loaded screen shows. */
  async function follow(link: string, heading: string, loaded: string): Promise<void> {
    await page.getByRole('link', { name: link, exact: true }).first().focus()
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { level: 1, name: heading }).waitFor()
    await page.getByText(loaded).first().waitFor()
  }

  const screens = [
    ['Overview', 'Overview', 'A spent token came back'],
    ['Incidents', 'Incidents', 'Speaks for theft'],
    ['Users', 'Users', 'Make administrator'],
    ['Ledger', 'Ledger', 'Live'],
    ['Search the ledger', 'Search the ledger', 'another program'],
    ['Verify and export', 'Verify and export', 'The log of hashes'],
    ['What administrators did', 'What administrators did', 'Nothing was done yet.'],
  ] as const

  test.each(screens)(
    '%s opens by keyboard, has no violation that axe-core knows in light and dark, and fits each width',
    async (link, heading, loaded) => {
      await follow(link, heading, loaded)
      await expectAccessible(page)
      await expectFits(page)
    },
  )
})
