import { readFile } from 'node:fs/promises'
import type { Locator, Page } from 'playwright-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { expectNoToken, hasChromium } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { signInOnConsole, useConsole } from '../support/console.ts'
import {
  expectAccessible,
  expectNoSidewaysScroll,
  expectReachableByTab,
} from '../support/console-checks.ts'
import { auth } from '../support/http.ts'
import { tamper } from '../support/ledger.ts'
import { signIn, type BodySession } from '../support/sessions.ts'
import { waitForLiveTail } from '../support/tail.ts'
import { makeUser } from '../support/users.ts'

/** Shown as text, and no wider than the page. */
const hostileAgent = `<img src=x onerror=alert(1)> another program ${'x'.repeat(400)}`
const hostileAddress = `<img src=x onerror=alert(1)><b>\u{202e}\u{1f468}\u{200d}\u{1f469}${'x'.repeat(8_192)}@example.com`
const hostileReason = '<b>a laptop</b> was lost \u{202e}\u{1f600}'

const positions = /\/trpc\/[^?]*admin\.ledger\.position/
const streams = /\/trpc\/[^?]*admin\.ledger\.tail/

describe.runIf(hasChromium)('the screens of admins', () => {
  const rig = useConsole()
  let page: Page
  let robbed: BodySession

  beforeAll(async () => {
    const { owner, url } = rig.app
    const admin = await makeUser(owner.url, 'admin@example.com', 'admin')
    robbed = await signIn(rig.app)
    const { refreshToken } = robbed
    await auth(url, 'refresh', { refreshToken })
    await moveClock(owner.ownerSql, 11_000)
    await auth(url, 'refresh', { refreshToken }, { 'user-agent': hostileAgent })
    page = await rig.open()
    await signInOnConsole(page, admin.email)
  })

  const screens = [
    ['Overview', 'A spent token came back'],
    ['Sessions', 'Select all that are shown and active'],
    ['Incidents', 'Speaks for theft'],
    ['Users', 'Make administrator'],
    ['Ledger', 'Live'],
    ['Search the ledger', 'another program'],
    ['Verify and export', 'The log of hashes'],
    ['What administrators did', 'Nothing was done yet.'],
  ] as const

  test.each(screens)(
    '%s opens and is operated by keyboard, axe-core finds no violation in light and dark, and it fits each width',
    async (name, loaded) => {
      await follow(name)
      await page.getByText(loaded).first().waitFor()
      await expectReachableByTab(page)
      await expectAccessible(page)
      await expectNoSidewaysScroll(page)
    },
  )

  test('an address full of markup, marks and emoji, as the directory of a team may have, is text on each screen', async () => {
    const answers = /\/trpc\/admin\.(?:overview|sessions|incidents|users|ledger\.events)/
    await page.route(answers, async (route) => {
      const response = await route.fetch()
      const text = (await response.text()).replaceAll(robbed.email, inJson(hostileAddress))
      return route.fulfill({ response, body: text })
    })
    await page.reload()
    for (const name of ['Overview', 'Sessions', 'Incidents', 'Users', 'Search the ledger']) {
      if (name === 'Search the ledger') await follow('Ledger')
      await follow(name)
      await page.getByRole('main').getByText('<img src=x').first().waitFor()
      expect(await page.locator('main img, main b').count()).toBe(0)
      await expectNoSidewaysScroll(page)
    }
    await page.unroute(answers)
  })

  test('the tail shows new events, goes on behind the last one after a pause, and filters', async () => {
    await follow('Ledger')
    await page.getByText('Live', { exact: true }).waitFor()
    await waitForLiveTail(rig.app.owner)
    const { refreshToken } = await signIn(rig.app)
    await page.getByText('1 event received').waitFor()
    await expectAccessible(page)
    await expectNoToken(page)

    await press(page.getByRole('button', { name: 'Pause' }))
    const [{ data }] = await Promise.all([
      auth(rig.app.url, 'refresh', { refreshToken }),
      signIn(rig.app),
    ])
    await auth(rig.app.url, 'refresh', { refreshToken: data.refreshToken })
    await page.getByText('Paused').waitFor()
    expect(await page.getByText('1 event received').count()).toBe(1)
    await press(page.getByRole('button', { name: 'Resume' }))
    await page.getByText('4 events received').waitFor()

    const rows = page.getByRole('table').getByRole('row')
    expect(await rows.count()).toBe(5)
    await page.getByLabel('Kind').selectOption('rotated')
    await expect.poll(() => rows.count()).toBe(3)
    await page.getByLabel('Contains').fill('no such address')
    await page.getByText('None of the newest events matches the filter.').waitFor()
  })

  test('a tail that is opened without a service waits for it, and an interruption before the first event loses none', async () => {
    await follow('Overview')
    for (const calls of [positions, streams])
      await page.route(calls, (route) => route.abort('connectionrefused'))
    await follow('Ledger')
    await page.getByText('Waiting for the service').waitFor()
    const answered = page.waitForResponse(positions)
    await page.unroute(positions)
    await answered
    await signIn(rig.app)
    await page.unroute(streams)
    await page.getByText('1 event received').waitFor()
  })

  test('each act on a user says what it did to the sessions, and is listed with its reason', async () => {
    const person = await signIn(rig.app)
    await signIn(rig.app, person.email)
    await follow('Users')
    await page.getByLabel('Address begins with').fill(person.email.slice(0, 12))
    await page.keyboard.press('Enter')
    const act = async (name: string, outcome: string) => {
      await press(page.getByRole('button', { name: `${name}: ${person.email}` }))
      const dialog = page.getByRole('dialog')
      const reason = dialog.getByLabel('Reason')
      if ((await reason.count()) > 0) await reason.fill(hostileReason)
      await press(dialog.getByRole('button', { name, exact: true }))
      await dialog.waitFor({ state: 'detached' })
      await page.getByText(outcome).waitFor()
    }
    await act('Make administrator', 'is an administrator. 0 sessions were ended, 2 go on.')
    await act('Make user', 'is no administrator any more. 0 sessions were ended, 2 go on.')
    await act('End sessions', 'can sign in again. 2 sessions were ended, 0 go on.')
    await act('Disable', 'is disabled. 0 sessions were ended, 0 go on.')
    await act('Enable', 'can sign in again. 0 sessions were ended, 0 go on.')
    await follow('Ledger')
    await follow('What administrators did')
    await page.getByText(hostileReason).waitFor()
    expect(await page.getByText('admin@example.com').count()).toBeGreaterThanOrEqual(5)
  })

  test('a user is created with a password that is shown once', async () => {
    await follow('Users')
    await press(page.getByRole('button', { name: 'Create a user' }))
    await page.getByRole('dialog').getByLabel('E-mail').fill('new@example.com')
    await page.keyboard.press('Enter')
    await page.getByText('new@example.com was created.').waitFor()
    const password = (await page.getByRole('dialog').locator('code').textContent()) ?? ''
    const credentials = { email: 'new@example.com', password, transport: 'body' }
    expect((await auth(rig.app.url, 'login', credentials)).status).toBe(200)
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    expect(await page.textContent('body')).not.toContain(password)
  })

  test('the whole ledger is verified, and its export is a file that is whole', async () => {
    await follow('Ledger')
    await follow('Verify and export')
    await press(page.getByRole('button', { name: 'Verify' }))
    await page.getByText(/^Intact: \d+ sessions with \d+ events/).waitFor()
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      press(page.getByRole('button', { name: 'Download' })),
    ])
    const lines = (await readFile(await download.path(), 'utf8')).trimEnd().split('\n')
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({ record: 'end' })
    expect(lines.join()).toContain(robbed.familyId)
  })

  test('a verification that is cancelled says how far it came, and ends in the service', async () => {
    const { ownerSql } = rig.app.owner
    // The check waits for this table as long as its lock is held.
    const holder = await ownerSql.reserve()
    await holder`begin`
    await holder`lock table token_ledger.token_event in access exclusive mode`
    await press(page.getByRole('button', { name: 'Verify again' }))
    await page.getByRole('progressbar', { name: 'Sessions checked' }).waitFor()
    await press(page.getByRole('button', { name: 'Cancel' }))
    await page.getByText('Cancelled. 0 sessions checked, 0 of them broken.').waitFor()
    await expectAccessible(page)
    await holder`rollback`
    holder.release()
    await press(page.getByRole('button', { name: 'Verify again' }))
    await page.getByText(/^Intact: /).waitFor()
  })

  test('a verification of a ledger that was changed names the first broken session and its event, and leads there', async () => {
    const { familyId } = robbed
    await tamper(
      rig.app.owner,
      `update token_ledger.token_event set expires_at = expires_at - interval '1 day' where family_id = '${familyId}' and seq = 2`,
    )
    await press(page.getByRole('button', { name: 'Verify again' }))
    await page.getByText('Broken sessions: 1.').waitFor()
    const row = page.getByRole('table', { name: 'Broken sessions' }).getByRole('row').nth(1)
    await row.getByRole('cell', { name: '2', exact: true }).waitFor()
    await expectAccessible(page)
    await expectNoSidewaysScroll(page)
    await press(row.getByRole('link', { name: familyId }))
    await press(page.getByRole('button', { name: 'Verify this chain' }))
    await page.getByText('First broken event: 2.').waitFor()
    await expectAccessible(page)
  })

  test('an admin who was demoted reads so when an export is refused, and the screens of admins are gone', async () => {
    const { owner } = rig.app
    const { email } = await makeUser(owner.url, undefined, 'admin')
    const other = await rig.open('ledger/proof')
    await signInOnConsole(other, email)
    await other.getByText('The log of hashes').first().waitFor()
    await owner.ownerSql`
      update token_ledger.user_account set role = 'user' where email = ${email}`
    await other.getByRole('button', { name: 'Download' }).click()
    await other.getByText('You are no longer an administrator.').waitFor()
    expect(await other.getByRole('link', { name: 'Ledger', exact: true }).count()).toBe(0)
    await other.context().close()
  })

  test('an admin who is demoted while the tail is open reads so, and its events are gone', async () => {
    const { owner } = rig.app
    await follow('Ledger')
    await page.getByText('Live', { exact: true }).waitFor()
    await waitForLiveTail(owner)
    await signIn(rig.app, robbed.email)
    await page.getByRole('cell', { name: robbed.email }).waitFor()
    // The last admin cannot be demoted.
    await makeUser(owner.url, undefined, 'admin')
    await owner.ownerSql`
      update token_ledger.user_account set role = 'user' where email = 'admin@example.com'`
    await page.getByText('You are no longer an administrator.').waitFor()
    await expectNoToken(page)
    expect(await page.textContent('body')).not.toContain(robbed.email)
    expect(await page.getByRole('link', { name: 'Ledger', exact: true }).count()).toBe(0)
  })

  /** Follows a link by keyboard. */
  async function follow(name: string): Promise<void> {
    await press(page.getByRole('link', { name, exact: true }).first())
    await page.getByRole('heading', { level: 1, name }).waitFor()
  }

  async function press(target: Locator): Promise<void> {
    await target.focus()
    await page.keyboard.press('Enter')
  }
})

/** As it stands within a string of JSON. */
function inJson(text: string): string {
  return JSON.stringify(text).slice(1, -1)
}
