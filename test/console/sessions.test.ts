import type { Page } from 'playwright-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { expectNoToken, hasChromium } from '../support/browser.ts'
import { signInOnConsole, useConsole } from '../support/console.ts'
import {
  expectAccessible,
  expectNoSidewaysScroll,
  expectReachableByTab,
  textOf,
} from '../support/console-checks.ts'
import { makeDemoLedger, type DemoLedger } from '../support/demo-ledger.ts'
import { auth } from '../support/http.ts'
import { longTest } from '../support/long.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'

describe.runIf(hasChromium)('the sessions in the console', () => {
  const console = useConsole({ TRUSTED_PROXIES: '127.0.0.1/32' })
  let demo: DemoLedger

  beforeAll(async () => {
    demo = await makeDemoLedger(console.app.url, console.app.owner)
  })

  test('one session shows the token that came back, from where, and what was true at any moment', async () => {
    const page = await console.open(`sessions/${demo.stolen}`)
    await signInOnConsole(page, demo.admin)
    await page.getByText('Came back from 203.0.113.66').waitFor()
    const rows = page.getByRole('table', { name: 'Its events' }).getByRole('row')
    expect(await rows.last().innerText()).toMatch(
      /reuse detected[\s\S]*203\.0\.113\.66[\s\S]*another network/,
    )
    expect(await rows.count()).toBe(7)

    const answer = page.getByRole('status').filter({ hasText: /generation \d/ })
    await answer.filter({ hasText: 'ended by reuse generation 4' }).waitFor()
    await page.getByRole('button', { name: 'Event before' }).click()
    await page.getByRole('button', { name: 'Event before' }).click()
    await answer.filter({ hasText: 'active generation 3' }).waitFor()
    await page.getByLabel('What was true at').focus()
    await page.keyboard.press('Home')
    await answer.filter({ hasText: 'active generation 0' }).waitFor()

    await expectReachableByTab(page)
    await page.getByRole('button', { name: 'Verify this chain' }).click()
    await page.getByText('6 events checked Verified just now.').waitFor()
    expect(await textOf(page)).toContain(`token-ledger sessions inspect ${demo.stolen}`)
    await expectAccessible(page)
    await expectNoSidewaysScroll(page)
    await expectNoToken(page)
    await page.context().close()
  })

  test('an admin who is demoted meanwhile reads so at the next act, and nothing of the screen stays', async () => {
    const page = await openAndDemote()
    await page.getByRole('button', { name: 'Select all that are shown and active' }).click()
    await page.getByRole('button', { name: 'End the selected sessions' }).click()
    await page.getByLabel('Reason').fill('a drill')
    await page.getByLabel('Reason').press('Enter')
    await expectNothingOfAdmins(page)
  })

  longTest(
    'an admin who is demoted meanwhile reads so at the next click, and nothing of the screen stays',
    async () => {
      const page = await openAndDemote()
      await page.getByRole('link', { name: demo.person }).first().click()
      await expectNothingOfAdmins(page)
    },
  )

  longTest(
    'several sessions are found, selected and ended with one reason by keyboard alone',
    async () => {
      const page = await console.open('sessions')
      await signInOnConsole(page, demo.admin)
      await page.getByRole('link', { name: demo.person }).first().waitFor()
      await expectAccessible(page)
      await expectNoSidewaysScroll(page)
      await page.getByLabel('E-mail begins with').focus()
      await page.keyboard.type('GRACE')
      await page.keyboard.press('Enter')
      await page.getByText('linus@').waitFor({ state: 'detached' })
      expect(page.url()).toContain('person=GRACE')
      await page.reload()
      await page.getByRole('button', { name: 'Select all that are shown and active' }).focus()
      await page.keyboard.press('Enter')
      await page.getByText('2 sessions selected').waitFor()
      await page.getByRole('button', { name: 'End the selected sessions' }).focus()
      await page.keyboard.press('Enter')
      await page.getByLabel('Reason').waitFor()
      await expectAccessible(page)
      await page.keyboard.type('a drill \u202E<b>')
      await page.keyboard.press('Enter')
      await page.getByText('2 sessions were ended.').waitFor()
      await page.getByRole('link', { name: demo.person }).last().click()
      await page.getByText('a drill').waitFor()
      expect(await page.locator('main b').count()).toBe(0)
      await page.context().close()
    },
  )

  longTest.each([
    ['by network', 'Network', '203.0.113', 'linus@example.com'],
    ['by device', 'Device', 'family', demoPerson()],
  ])(
    'sessions are found %s, and none of them is selected',
    async (_how, label, typed, expected) => {
      const page = await console.open('sessions')
      await signInOnConsole(page, demo.admin)
      await page.getByRole('button', { name: 'Select all that are shown and active' }).click()
      await page.getByText(/^[1-9] sessions selected/).waitFor()
      await page.getByLabel(label).fill(typed)
      await page.keyboard.press('Enter')
      await expect.poll(() => page.getByRole('rowheader').allInnerTexts()).toEqual([expected])
      await page.getByText('0 sessions selected').waitFor()
      await page.context().close()
    },
  )

  longTest.each([
    [
      '503',
      { status: 503, body: refusal('service_unavailable', 503) },
      'The service cannot answer right now',
    ],
    ['429', { status: 429, body: refusal('too_many_attempts', 429) }, 'That was asked too often'],
    ['no answer', null, 'The service cannot be reached'],
  ])(
    'with %s the screen says what it waits for, asks a bounded number of times, and goes on',
    async (_what, answer, says) => {
      const page = await console.open('')
      await signInOnConsole(page, demo.admin)
      let asked = 0
      await page.route('**/trpc/admin.sessions.list**', async (route) => {
        asked += 1
        await (answer === null
          ? route.abort()
          : route.fulfill({ ...answer, contentType: 'application/json' }))
      })
      await page.getByRole('link', { name: 'Sessions' }).click()
      await page.getByText(says).waitFor()
      await page.getByRole('button', { name: 'Try again' }).waitFor({ timeout: 40_000 })
      expect(asked).toBe(4)
      await page.unroute('**/trpc/admin.sessions.list**')
      await page.getByRole('button', { name: 'Try again' }).click()
      await page.getByRole('link', { name: demo.person }).first().waitFor()
      await page.context().close()
    },
  )

  longTest(
    'an admin who is disabled meanwhile reads why at the next click, and nothing of the screen stays',
    async () => {
      const { email } = await makeUser(console.app.owner.url, undefined, 'admin')
      const page = await console.open('sessions')
      await signInOnConsole(page, email)
      await page.getByRole('link', { name: demo.person }).first().waitFor()
      const { ownerSql } = console.app.owner
      await ownerSql`
      update token_ledger.user_account set disabled_at = token_ledger.clock() where email = ${email}`
      await page.getByRole('link', { name: demo.person }).first().click()
      await page.getByText('Your session was ended').waitFor()
      expect(await textOf(page)).not.toMatch(new RegExp(`${demo.person}|${email}`))
      await page.context().close()
    },
  )

  longTest('of the 1,000 events of a session only those in view are in the document', async () => {
    const session = await signIn(console.app, demo.person)
    let { refreshToken } = session
    for (let rotations = 1; rotations < 1_000; rotations += 1)
      refreshToken = (await auth(console.app.url, 'refresh', { refreshToken })).data.refreshToken
    const page = await console.open(`sessions/${session.familyId}`)
    await signInOnConsole(page, demo.admin)
    const rows = page.getByRole('table', { name: 'Its events' }).getByRole('row')
    await rows.nth(5).waitFor()
    const region = page.getByRole('region', { name: 'Its events' })
    for (const key of ['PageDown', 'End', 'PageUp', 'Home']) {
      await region.press(key)
      await expect.poll(() => rows.count()).toBeLessThan(60)
    }
    const pressEnd = async () => {
      await region.press('End')
      return rows.last().innerText()
    }
    await expect.poll(pressEnd).toMatch(/^1000\b/)
    await page.context().close()
  })

  longTest('a screen that is left open asks at most once a minute', async () => {
    const page = await console.open(`sessions/${demo.lively}`)
    await signInOnConsole(page, demo.admin)
    await page.getByRole('img', { name: /^Timeline/ }).waitFor()
    await settled(page)
    let asked = 0
    page.on('request', () => (asked += 1))
    await page.waitForTimeout(30_000)
    expect(asked).toBeLessThanOrEqual(1)
    await page.context().close()
  })

  async function openAndDemote(): Promise<Page> {
    const { email } = await makeUser(console.app.owner.url, undefined, 'admin')
    const page = await console.open('sessions')
    await signInOnConsole(page, email)
    await page.getByRole('link', { name: demo.person }).first().waitFor()
    await console.app.owner.ownerSql`
      update token_ledger.user_account set role = 'user' where email = ${email}`
    return page
  }

  async function expectNothingOfAdmins(page: Page): Promise<void> {
    await page.getByText('You are no longer an administrator.').waitFor()
    await page.getByRole('heading', { name: 'Your account' }).waitFor()
    expect(await textOf(page)).not.toMatch(new RegExp(`${demo.person}|Sessions|Ledger`))
    await page.context().close()
  }
})

/** The demo ledger is made later than the titles of the tests. */
function demoPerson(): string {
  return 'grace@example.com'
}

function refusal(reason: string, httpStatus: number): string {
  const data = { code: 'X', httpStatus, path: 'admin.sessions.list', reason }
  return JSON.stringify({ error: { message: reason, code: -32_000, data } })
}

async function settled(page: Page): Promise<void> {
  await page.waitForLoadState('networkidle')
}
