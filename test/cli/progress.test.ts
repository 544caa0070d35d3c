import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { createProgress } from '../../server/cli/output.ts'
import { stopClock, moveClock } from '../support/clock.ts'
import { cli } from '../support/cli.ts'
import { waitFor } from '../support/wait.ts'
import { makeMonth, startLedger, type TestLedger } from '../support/ledger.ts'

const folder = mkdtempSync(join(tmpdir(), 'token-ledger-progress-'))

test('progress is written to stderr once a second, and not in the first second', () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
  try {
    const progress = createProgress()
    const linesAfter = (ms: number) => {
      vi.advanceTimersByTime(ms)
      progress({ families: 1, events: 2_000 })
      return logged.mock.calls.length
    }
    expect([999, 1, 500, 499, 1, 5_000].map(linesAfter)).toEqual([0, 1, 1, 1, 2, 3])
    expect(logged.mock.calls[0]).toEqual(['… 1 family, 2,000 events'])
  } finally {
    logged.mockRestore()
    vi.useRealTimers()
  }
})

test.concurrent.each([
  ['verify', []],
  ['export', []],
  ['archive', ['--before', '2026-02-01', '--to', join(folder, 'archive.jsonl')]],
])('ledger %s reports its progress when it takes longer than a second', async (command, args) => {
  await using ledger = await startLedger()
  const { owner } = ledger
  await makeMonth(owner, '202601')
  await stopClock(owner.ownerSql, Date.UTC(2026, 0, 10))
  await ledger.start(await ledger.makeUser())
  await moveClock(owner.ownerSql, 0)
  const answer = await owner.ownerSql.begin(async (tx) => {
    await tx`lock token_ledger.token_event in access exclusive mode`
    const running = cli(owner.url, ['ledger', command, ...args])
    await waitFor(() => isHeldUp(ledger))
    await sleep(1_100)
    return { running }
  })
  const { code, stdout, stderr } = await answer.running
  expect(code).toBe(0)
  expect(stderr.split('\n')[0]).toMatch(/^… 1 family, [01] events?$/)
  expect(stdout).not.toContain('…')
})

async function isHeldUp({ owner }: TestLedger): Promise<boolean> {
  const rows = await owner.ownerSql`
    select from pg_locks
    where not granted and relation::regclass::text like 'token_ledger.token_event%'
      and database = (select oid from pg_database where datname = current_database())`
  return rows.length > 0
}
