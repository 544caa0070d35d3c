import { describe, expect, test } from 'vitest'
import { startApp } from '../support/app.ts'
import {
  callProtected,
  expectNoToken,
  hasChromium,
  hasStatus,
  openPage,
  signInOnPage,
  useBrowser,
} from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { countKinds } from '../support/ledger-counts.ts'
import { makeUser } from '../support/users.ts'

describe.runIf(hasChromium)('a session that has ended', () => {
  const browser = useBrowser()

  test('RT-05 (RFC 9700 §4.14.2): a cookie copied to another profile ends both sessions, and both pages say why', async () => {
    await using app = await startApp({}, { consoleFolder: browser.consoleFolder })
    const { email } = await makeUser(app.owner.url)
    const victim = await openPage(await browser.newContext(), app.url)
    await signInOnPage(victim, email)
    const otherTab = await openPage(victim.context(), app.url)
    await hasStatus(otherTab, 'signed-in')

    const storageState = await victim.context().storageState()
    const thiefsProfile = await browser.newContext({ storageState })
    const thief = await openPage(thiefsProfile, app.url)
    await hasStatus(thief, 'signed-in')
    await callProtected(thief)

    await moveClock(app.owner.ownerSql, 11_000)
    await victim.click('#refresh')
    const farewell = await hasStatus(victim, 'signed-out')
    expect(farewell).toMatch(/\(refresh_token_reused\)\. Incident [0-9a-f-]{36}:\d+\.$/)
    expect(await hasStatus(otherTab, 'signed-out')).toBe(farewell)
    await thief.click('#refresh')
    expect(await hasStatus(thief, 'signed-out')).toBe(farewell)
    expect((await countKinds(app)).reuse_detected).toBe(1)
    for (const page of [victim, otherTab, thief]) await expectNoToken(page)
    expect(await victim.context().cookies()).toEqual([])
  })

  test('CL-07 (ASVS 14.3.1): a sign-out in another tab signs this tab out, and a sign-in there signs it in', async () => {
    await using app = await startApp({}, { consoleFolder: browser.consoleFolder })
    const { email } = await makeUser(app.owner.url)
    const context = await browser.newContext()
    const here = await openPage(context, app.url)
    const there = await openPage(context, app.url)
    expect(await hasStatus(here, 'signed-out')).toBe('Not signed in')
    await signInOnPage(there, email)
    await hasStatus(here, 'signed-in')
    await callProtected(here)
    // Until the service has confirmed it, every page that starts says so again.
    const confirmed = there.waitForResponse('**/auth/logout')
    await there.click('#sign-out')
    expect(await hasStatus(here, 'signed-out')).toBe('You signed out.')
    await (await confirmed).finished()
    await expect.poll(() => there.evaluate(notedSignOut)).toBe(false)
    await here.reload()
    expect(await hasStatus(here, 'signed-out')).toBe('Not signed in')
    await expectNoToken(here)
  })

  test('a session ended from the list is signed out at its next call', async () => {
    await using app = await startApp({}, { consoleFolder: browser.consoleFolder })
    const { email } = await makeUser(app.owner.url)
    const lost = await openPage(await browser.newContext(), app.url)
    await signInOnPage(lost, email)
    const page = await openPage(await browser.newContext(), app.url)
    await signInOnPage(page, email)
    await expect.poll(() => page.locator('#sessions tr').count()).toBe(2)
    await page.locator('#sessions tr', { hasNotText: '(this one)' }).getByRole('button').click()
    await expect.poll(() => page.locator('#sessions tr').count()).toBe(1)
    await lost.click('#refresh')
    expect(await hasStatus(lost, 'signed-out')).toMatch(/\(session_revoked\)\. Incident /)
    expect(await hasStatus(page, 'signed-in')).toBe('Signed in')
  })

  test('CL-07 (ASVS 14.3.1): a refresh that is answered after the sign-out does not restore the session', async () => {
    await using app = await startApp({}, { consoleFolder: browser.consoleFolder })
    const { email } = await makeUser(app.owner.url)
    const page = await openPage(await browser.newContext(), app.url)
    await signInOnPage(page, email)
    for (let times = 0; times < 4; times += 1) {
      await page.evaluate(() => {
        document.querySelector<HTMLElement>('#refresh')!.click()
        document.querySelector<HTMLElement>('#sign-out')!.click()
      })
      expect(await hasStatus(page, 'signed-out')).toBe('You signed out.')
      await expect.poll(async () => (await countKinds(app)).revoked).toBe(times + 1)
      await page.reload()
      // If the refresh was answered last, the cookie of the ended session is there, and the page shows how it ended.
      expect(['Not signed in', 'You signed out.']).toContain(await hasStatus(page, 'signed-out'))
      await signInOnPage(page, email)
    }
  }, 60_000)
})

function notedSignOut(): boolean {
  return Object.keys(localStorage).some((key) => key.endsWith(' sign-out'))
}
