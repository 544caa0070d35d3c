import { setTimeout as sleep } from 'node:timers/promises'
import type { BrowserContext, Page } from 'playwright-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { hasChromium } from '../support/browser.ts'
import { signInOnConsole, useConsole } from '../support/console.ts'
import { runsLong } from '../support/long.ts'
import { makeUser } from '../support/users.ts'

const screens = [
  'account',
  'overview',
  'sessions',
  'incidents',
  'users',
  'ledger',
  'ledger/search',
  'ledger/proof',
  'ledger/admins',
]

/** Requests of one screen in half a minute. The overview asks every 15 s. */
const most = { answered: 4, refused: 20 }
const halfMinute = 30_000

describe.runIf(hasChromium && runsLong)('requests a minute of each open screen', () => {
  const rig = useConsole()
  let context: BrowserContext

  beforeAll(async () => {
    const admin = await makeUser(rig.app.owner.url, undefined, 'admin')
    const page = await rig.open()
    await signInOnConsole(page, admin.email)
    context = page.context()
    await page.close()
  })

  test('are few while the service answers, and none of the overview while its page is hidden', async () => {
    const pages = await openAll()
    const hidden = await open('overview')
    await hidden.getByText('Active sessions').waitFor()
    await hidden.evaluate(() => {
      Object.defineProperty(document, 'visibilityState', { value: 'hidden' })
      document.dispatchEvent(new Event('visibilitychange'))
    })
    const [counts, ofHidden] = [pages.map(countRequests), countRequests(hidden)]
    await sleep(halfMinute)
    expect(counts.filter(({ requests }) => requests > most.answered)).toEqual([])
    expect(ofHidden.requests).toBe(0)
    for (const page of [...pages, hidden]) await page.close()
  }, 120_000)

  test.each([429, 503])(
    'are bounded while every answer is %i, and nobody is signed out',
    async (status) => {
      await context.route('**/trpc/**', (route) => route.fulfill({ status, body: refusal(status) }))
      const pages = await openAll()
      const counts = pages.map(countRequests)
      await sleep(halfMinute)
      expect(counts.filter(({ requests }) => requests > most.refused)).toEqual([])
      for (const page of pages) {
        await page.getByRole('button', { name: 'Sign out' }).waitFor()
        await page.close()
      }
      await context.unroute('**/trpc/**')
    },
    120_000,
  )

  async function openAll(): Promise<Page[]> {
    const pages: Page[] = []
    for (const path of screens) pages.push(await open(path))
    return pages
  }

  async function open(path: string): Promise<Page> {
    const page = await context.newPage()
    await page.goto(`${rig.app.url}/console/${path}`)
    await page.getByRole('heading', { level: 1 }).waitFor()
    return page
  }
})

function countRequests(page: Page): { readonly path: string; requests: number } {
  const count = { path: new URL(page.url()).pathname, requests: 0 }
  page.on('request', () => (count.requests += 1))
  return count
}

/** An answer of the service to a call, as tRPC writes it. */
function refusal(httpStatus: number): string {
  const [reason, code] =
    httpStatus === 429 ? ['too_many_attempts', -32029] : ['service_unavailable', -32603]
  const data = { code: '', httpStatus, path: '', reason, incidentId: null, retryAfterSeconds: 1 }
  return JSON.stringify({ error: { message: 'Later.', code, data } })
}
