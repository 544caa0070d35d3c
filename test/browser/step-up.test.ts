import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { hasChromium, useBrowser } from '../support/browser.ts'
import { serveClientPages, type ClientPage, type ClientPages } from '../support/client-page.ts'
import { countKinds, expectNoReuse } from '../support/ledger-counts.ts'
import { repeats } from '../support/long.ts'
import { makeUser, testPassword } from '../support/users.ts'

describe.runIf(hasChromium)('tabs of one browser', () => {
  const browser = useBrowser()
  let app: TestApp
  let pages: ClientPages
  beforeAll(async () => {
    ;[app, pages] = await Promise.all([startApp(), serveClientPages()])
  })
  afterAll(() => Promise.all([app, pages].map((started) => started[Symbol.asyncDispose]())))

  const browsers: [string, boolean][] = [
    ['with Web Locks', true],
    ['without Web Locks', false],
  ]
  test.each(browsers.slice(0, repeats(1, browsers.length)))(
    'the user authenticates again in one tab, and the others take the token over (%s), also while they refresh',
    async (_how, hasLocks) => {
      await using context = await browser.newContext()
      if (!hasLocks)
        await context.addInitScript(() => Reflect.deleteProperty(Navigator.prototype, 'locks'))
      const open = () => pages.open(context, '127.0.0.1', { baseUrl: app.url })
      const [first, second, third] = [await open(), await open(), await open()]
      const { email } = await makeUser(app.owner.url)
      const person = { email, password: testPassword }
      const { familyId } = await first.act((auth, input) => auth.login(input), person)
      for (const tab of [second, third]) await tab.act((auth) => auth.restore())
      const before = await countKinds(app, familyId)

      expect(await reauthenticate(first)).toMatchObject({ status: 'signed-in', familyId })
      const token = await tokenOf(first)
      for (const tab of [second, third]) await expect.poll(() => tokenOf(tab)).toBe(token)
      expect(await countKinds(app, familyId)).toEqual({ ...before, reauthenticated: 1 })

      for (let round = 0; round < repeats(2, 25); round += 1) {
        const sessions = await Promise.all([
          reauthenticate(first),
          second.act((auth) => auth.refresh()),
          third.act((auth) => auth.refresh()),
        ])
        for (const session of sessions)
          expect(session).toMatchObject({ status: 'signed-in', familyId })
      }
      await expectNoReuse(app)
    },
    120_000,
  )
})

function reauthenticate(tab: ClientPage) {
  return tab.act((auth, password) => auth.reauthenticate({ password }), testPassword)
}

function tokenOf(tab: ClientPage): Promise<string> {
  return tab.act((auth) => auth.getAccessToken())
}
