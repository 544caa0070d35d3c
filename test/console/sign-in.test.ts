import { describe, expect, test } from 'vitest'
import { hasChromium } from '../support/browser.ts'
import { useConsole } from '../support/console.ts'
import { makeUser, testPassword } from '../support/users.ts'

describe.runIf(hasChromium)('the sign-in of the console', () => {
  const console = useConsole()

  test('a person signs in by keyboard alone, and signs out again', async () => {
    const { email } = await makeUser(console.app.owner.url)
    const page = await console.open()
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    await page.keyboard.press('Tab')
    await page.keyboard.type(email)
    await page.keyboard.press('Tab')
    await page.keyboard.type(testPassword)
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Account' }).waitFor()
    expect(page.url()).toBe(`${console.app.url}/console/account`)
    await page.getByRole('button', { name: 'Sign out' }).focus()
    await page.keyboard.press('Enter')
    await page.getByText('You signed out.').waitFor()
    expect(await page.textContent('body')).not.toContain(email)
  })
})
