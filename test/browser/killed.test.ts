import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildPage } from './page/build.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { hasChromium, hasStatus, openPage, signInOnPage } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { countKinds } from '../support/ledger-counts.ts'
import { makeProfile, type Profile } from '../support/profile.ts'
import { makeUser } from '../support/users.ts'

/**
 * How many kills the long test makes; `npm run test:killed` makes 40, which takes a quarter of an hour, and a quarter as
 * many of a WebView.
 */
const kills = Number(process.env.TEST_KILLS ?? 0)
const longTest = test.runIf(kills > 0)
const lanes = 2

/** As in an app: browser and pages are one process, which is killed with the app. */
const webView = [
  '--single-process',
  '--user-agent=Mozilla/5.0 (Linux; Android 15; Pixel 9; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/140.0.0.0 Mobile Safari/537.36',
]

describe.runIf(hasChromium)('a browser that is killed', () => {
  const consoleFolder = mkdtempSync(join(tmpdir(), 'token-ledger-page-'))
  let app: TestApp
  let laterMs = 0
  beforeAll(async () => {
    await buildPage(consoleFolder)
    app = await startApp({}, { consoleFolder })
  })
  afterAll(async () => {
    await app[Symbol.asyncDispose]()
    rmSync(consoleFolder, { recursive: true })
  })

  const pass = (ms: number) => moveClock(app.owner.ownerSql, (laterMs += ms))

  /** A profile whose cookie is on the disk: a browser that quits writes everything. */
  async function signedIn(switches: readonly string[] = []): Promise<Profile> {
    const { email } = await makeUser(app.owner.url)
    const profile = makeProfile(switches)
    const browser = await profile.start()
    await signInOnPage(await openPage(browser.context, app.url), email)
    await browser.quit()
    return profile
  }

  /** Starts the browser, loads the page so often, each time with a refresh, and kills the browser so much later. */
  async function killAfter(profile: Profile, loads: number, ms: number): Promise<void> {
    const browser = await profile.start()
    const page = await openPage(browser.context, app.url)
    expect(await hasStatus(page, 'signed-in')).toBe('Signed in')
    for (let load = 1; load < loads; load += 1) {
      await page.reload()
      await hasStatus(page, 'signed-in')
    }
    await sleep(ms)
    await browser.kill()
  }

  async function expectSignedIn(profile: Profile): Promise<void> {
    const browser = await profile.start()
    const page = await openPage(browser.context, app.url)
    expect(await hasStatus(page, 'signed-in')).toBe('Signed in')
    await page.click('#refresh')
    await browser.quit()
    expect((await countKinds(app)).reuse_detected ?? 0).toBe(0)
  }

  test('CL-11: after five page loads, and at once again, comes back signed in, without an incident', async () => {
    using profile = await signedIn()
    await killAfter(profile, 5, 0)
    await pass(15_000)
    await killAfter(profile, 1, 0)
    await pass(5 * 60_000)
    await expectSignedIn(profile)
    // The cookie of before the first kill was presented each time.
    expect(await countKinds(app)).toMatchObject({ replayed: 2 })
  })

  longTest.each([
    ['a browser', kills, []],
    ['a WebView', Math.ceil(kills / 4), webView],
  ])(
    'CL-11: %s, at any moment until 40 s after a refresh, comes back signed in, without an incident (%i times)',
    async (_name, times, switches) => {
      const killAll = async (lane: number) => {
        using profile = await signedIn(switches)
        for (let kill = lane; kill < times; kill += lanes) {
          await killAfter(profile, [1, 5][Math.floor(kill / lanes) % 2]!, (kill * 40_000) / times)
          await pass([0, 15_000, 5 * 60_000][kill % 3]!)
          await expectSignedIn(profile)
        }
      }
      await Promise.all(Array.from({ length: lanes }, (_, lane) => killAll(lane)))
    },
    30 * 60_000,
  )
})
