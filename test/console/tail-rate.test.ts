import { setTimeout as sleep } from 'node:timers/promises'
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { hasChromium } from '../support/browser.ts'
import { signInOnConsole, useConsole } from '../support/console.ts'
import type { FreshDatabase } from '../support/database.ts'
import { startLedger, type TestLedger } from '../support/ledger.ts'
import { runsLong } from '../support/long.ts'
import { waitForLiveTail, waitForOpenTails } from '../support/tail.ts'
import { makeUser } from '../support/users.ts'

const families = 50
const roundsPerSecond = 10
const seconds = 60

describe.runIf(hasChromium && runsLong)('the tail under load', () => {
  // The stream ends with its access token, and goes on behind the last event.
  const rig = useConsole({ ACCESS_TOKEN_SECONDS: '20' })

  test('500 events a second for a minute: none is missing or comes twice, memory stays flat, and a click is answered within 200 ms', async () => {
    const { owner, url } = rig.app
    await using ledger = await startLedger({}, { owner })
    const admin = await makeUser(owner.url, undefined, 'admin')
    const sessions = await startSessions(ledger)
    const [followed] = sessions
    const everything = await openTail(admin.email)
    const ofOne = await openTail(admin.email)
    await ofOne.getByLabel('Contains').fill(followed!.familyId)
    await waitForOpenTails(url, 2)
    await waitForLiveTail(owner)
    await everything.evaluate(watchClicks)
    await sleep(1_000)
    const before = await Promise.all([everything, ofOne].map((page) => notReceived(page, owner)))

    const flood = rotateAll(ledger, sessions)
    await sleep(15_000)
    const heapBefore = await heapOf(everything)
    for (let clicks = 0; clicks < 10; clicks += 1) {
      await everything.getByRole('button', { name: 'Pause' }).click()
      await everything.getByText('Paused').waitFor()
      await everything.getByRole('button', { name: 'Resume' }).click()
      await sleep(3_000)
    }
    const slowestMs = await everything.evaluate(() => window.slowestClickMs)
    const heapAfter = await heapOf(everything)
    const { events, tookMs } = await flood

    // The pages' own refreshes are events, too.
    for (const [i, page] of [everything, ofOne].entries())
      await expect.poll(() => notReceived(page, owner)).toBe(before[i])
    await ofOne.getByRole('button', { name: 'Pause' }).click()
    const seqs = await readSeqs(ofOne)
    expect(seqs).toEqual(Array.from({ length: events / families }, (_, i) => i + 2).toReversed())
    expect(slowestMs).toBeLessThan(200)
    expect(heapAfter - heapBefore).toBeLessThan(5_000_000)
    expect(await everything.getByRole('row').count()).toBeLessThan(100)
    expect(events / (tookMs / 1000)).toBeGreaterThan(450)
  }, 300_000)

  async function openTail(email: string): Promise<Page> {
    const page = await rig.open('ledger', { locale: 'en-US' })
    await signInOnConsole(page, email)
    await page.getByText('Live', { exact: true }).waitFor()
    return page
  }
})

declare global {
  interface Window {
    slowestClickMs: number
  }
}

async function startSessions(ledger: TestLedger) {
  const user = await ledger.makeUser()
  return Promise.all(Array.from({ length: families }, () => ledger.start(user)))
}

/** Rotates each session ten times a second. */
async function rotateAll(
  ledger: TestLedger,
  begun: Awaited<ReturnType<typeof startSessions>>,
): Promise<{ events: number; tookMs: number }> {
  const startedAt = performance.now()
  const rounds = seconds * roundsPerSecond
  let sessions = begun
  for (let round = 0; round < rounds; round += 1) {
    const dueAt = startedAt + (round * 1000) / roundsPerSecond
    await sleep(Math.max(0, dueAt - performance.now()))
    sessions = await Promise.all(sessions.map((session) => ledger.refresh(session)))
  }
  return { events: rounds * families, tookMs: performance.now() - startedAt }
}

/** How many events of the ledger this page has not received: those before its tail. */
async function notReceived(page: Page, { ownerSql }: FreshDatabase): Promise<number> {
  const received = (await page.getByText(/events? received/).textContent()) ?? ''
  const [row] = await ownerSql<{ events: number }[]>`
    select count(*)::integer as events from token_ledger.token_event`
  return row!.events - Number(received.replace(/\D/g, ''))
}

/** Runs in the page: notes how long the browser took from each click until it was painted. */
function watchClicks(): void {
  window.slowestClickMs = 0
  new PerformanceObserver((list) => {
    for (const { name, duration } of list.getEntries())
      if (name === 'click') window.slowestClickMs = Math.max(window.slowestClickMs, duration)
  }).observe({ type: 'event', durationThreshold: 16 } as PerformanceObserverInit)
}

async function heapOf(page: Page): Promise<number> {
  const devtools = await page.context().newCDPSession(page)
  await devtools.send('HeapProfiler.collectGarbage')
  const { usedSize } = await devtools.send('Runtime.getHeapUsage')
  await devtools.detach()
  return usedSize
}

/** Scrolls through the whole table, and returns the numbers of its events in their order. */
async function readSeqs(page: Page): Promise<number[]> {
  return page.locator('.virtual').evaluate(async (box) => {
    const seqs = new Map<number, number>()
    for (let top = 0; top <= box.scrollHeight; top += 200) {
      box.scrollTop = top
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))
      for (const row of box.querySelectorAll('.virtual-body [role=row]'))
        seqs.set(
          Number(row.getAttribute('aria-rowindex')),
          Number(/#(\d+)$/.exec(row.querySelector('code')?.textContent ?? '')?.[1]),
        )
    }
    return [...seqs].toSorted(([a], [b]) => a - b).map(([, seq]) => seq)
  })
}
