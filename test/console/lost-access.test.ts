import type { Page } from 'playwright-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { hasChromium } from '../support/browser.ts'
import { signInOnConsole, useConsole } from '../support/console.ts'
import { textOf } from '../support/console-checks.ts'
import { makeDemoLedger, type DemoLedger } from '../support/demo-ledger.ts'
import { auth, mutate } from '../support/http.ts'
import { runsLong } from '../support/long.ts'
import { makeUser, testPassword } from '../support/users.ts'

type Act = (page: Page) => Promise<unknown>

const press =
  (name: string): Act =>
  (page) =>
    page.getByRole('button', { name, exact: true }).click()

const choose =
  (label: string, index: number): Act =>
  (page) =>
    page.getByLabel(label, { exact: true }).selectOption({ index })

const inTurn =
  (...acts: Act[]): Act =>
  async (page) => {
    for (const act of acts) await act(page)
  }

const typeAddress: Act = (page) => page.getByLabel('Address begins with').fill('g')

/** Each screen of admins: what it shows once it is loaded, and the next thing that is done on it. */
const screens: readonly (readonly [string, string, Act])[] = [
  ['overview', 'A spent token came back', choose('Range', 0)],
  ['sessions', 'grace@example.com', inTurn(choose('Status', 1), press('Search'))],
  ['sessions/', 'Came back from', press('Verify this chain')],
  ['incidents', 'Speaks for theft', choose('Period', 0)],
  ['users', 'grace@example.com', inTurn(typeAddress, press('Find'))],
  // The stream asks by itself.
  ['ledger', 'Live', () => Promise.resolve()],
  ['ledger/search', 'grace@example.com', inTurn(choose('Kind', 1), press('Find'))],
  ['ledger/proof', 'The log of hashes', press('Verify')],
  ['ledger/admins', 'What administrators did', (page) => openScreen(page, 'Users')],
]

describe.runIf(hasChromium && runsLong)('an admin whose screen is open', () => {
  const rig = useConsole({ TRUSTED_PROXIES: '127.0.0.1/32' })
  let demo: DemoLedger

  beforeAll(async () => {
    demo = await makeDemoLedger(rig.app.url, rig.app.owner)
  })

  const losses = {
    demoted: async (email: string) => {
      await rig.app.owner.ownerSql`
        update token_ledger.user_account set role = 'user' where email = ${email}`
    },
    disabled: async (email: string) => {
      await rig.app.owner.ownerSql`
        update token_ledger.user_account set disabled_at = token_ledger.clock() where email = ${email}`
    },
    'signed out elsewhere': async (email: string) => {
      const credentials = { email, password: testPassword, transport: 'body' }
      const { data } = await auth(rig.app.url, 'login', credentials)
      await mutate(rig.app.url, 'sessions.revokeOthers', data.accessToken, {})
    },
  }

  const cases = Object.keys(losses).flatMap((loss) =>
    screens.map(([path, loaded, act]) => [loss as keyof typeof losses, path, loaded, act] as const),
  )

  test.each(cases)(
    'and who is %s reads so at the next thing done on %s, of which nothing stays',
    async (loss, path, loaded, act) => {
      const { email } = await makeUser(rig.app.owner.url, undefined, 'admin')
      const page = await rig.open(path === 'sessions/' ? `sessions/${demo.stolen}` : path)
      await signInOnConsole(page, email)
      await page.getByRole('main').getByText(loaded).locator('visible=true').first().waitFor()
      await losses[loss](email)
      await act(page)
      if (loss === 'demoted') {
        await page.getByText('You are no longer an administrator.').waitFor()
        await page.getByRole('heading', { name: 'Your account' }).waitFor()
        expect(await page.getByRole('navigation').getByRole('link').count()).toBe(1)
      } else {
        await page.getByText('Your session was ended').waitFor()
        await page.getByRole('heading', { name: 'Sign in' }).waitFor()
        expect(await textOf(page)).not.toContain(email)
      }
      expect(await textOf(page)).not.toContain(demo.person)
      expect(await textOf(page)).not.toContain(loaded)
      await page.context().close()
    },
  )
})

async function openScreen(page: Page, name: string): Promise<void> {
  await page.getByRole('navigation').getByRole('link', { name }).click()
}
