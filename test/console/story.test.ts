import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { hasChromium } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { signInOnConsole, useConsole } from '../support/console.ts'
import { runsLong } from '../support/long.ts'
import { makeUser } from '../support/users.ts'

describe.runIf(hasChromium && runsLong)('a theft from its discovery to its end', () => {
  const rig = useConsole()

  test('an admin finds the incident on the overview in three clicks, sees which use was whose, ends what is left, and the person reads why', async () => {
    const { owner } = rig.app
    const person = await makeUser(owner.url, 'robbed@example.com')
    const admin = await makeUser(owner.url, undefined, 'admin')
    const laptop = await rig.open('', { userAgent: 'Laptop' })
    await signInOnConsole(laptop, person.email)
    const phone = await rig.open('', { userAgent: 'Phone' })
    await signInOnConsole(phone, person.email)

    const storageState = await laptop.context().storageState()
    const thief = await rig.open('', { userAgent: 'Thief', storageState })
    await thief.getByRole('button', { name: 'Sign out' }).waitFor()
    await moveClock(owner.ownerSql, 11_000)
    await laptop.reload()
    await laptop.getByText('a copy of its credential was used').waitFor()
    const incidentId = await laptop.locator('.notice code').textContent()
    expect(incidentId).toMatch(/^[0-9a-f-]{36}:\d+$/)

    const desk = await rig.open('overview')
    await signInOnConsole(desk, admin.email)
    await desk.getByRole('link', { name: 'A spent token came back' }).click()
    const card = desk.getByRole('article')
    await card.getByText(incidentId!).waitFor()
    expect(await useIn(card.page(), 'The use that was noticed')).toContain('Laptop')
    expect(await useIn(card.page(), 'The newest use of the session before it')).toContain('Thief')
    await card.getByText('Treat it as theft').waitFor()
    await card.getByRole('button', { name: 'End all sessions of this person' }).click()
    const dialog = desk.getByRole('dialog')
    await dialog.getByLabel('Reason').fill('a stolen cookie')
    await dialog.getByRole('button', { name: 'End all sessions' }).click()
    await card.getByText('1 session was ended.').waitFor()

    await phone.reload()
    await phone.getByText('by an administrator').waitFor()
    await thief.reload()
    await thief.getByText('a copy of its credential was used').waitFor()
    for (const page of [laptop, phone, thief]) {
      await page.getByRole('heading', { name: 'Sign in' }).waitFor()
      expect(await page.textContent('body')).not.toContain(person.email)
    }

    await card.getByRole('link', { name: 'Open the session' }).click()
    await desk.getByRole('img', { name: /^Timeline/ }).waitFor()
    await desk.getByRole('table').getByText('reuse detected').first().waitFor()
  })
})

async function useIn(page: Page, heading: string): Promise<string | null> {
  const use = page.locator('.use', { has: page.getByRole('heading', { name: heading }) })
  return use.textContent()
}
