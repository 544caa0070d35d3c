import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { verifyExport } from '../../server/audit/verify-export.ts'
import { ArchiveRefused, archiveLedger } from '../../server/audit/archive.ts'
import { moveClock, stopClock } from '../support/clock.ts'
import { makeMonth, startLedger, tamper, type TestLedger } from '../support/ledger.ts'

const january = Date.UTC(2026, 0, 10)
const february = Date.UTC(2026, 1, 10)
const march = Date.UTC(2026, 2, 1)
let file: string

beforeEach(() => {
  file = join(mkdtempSync(join(tmpdir(), 'token-ledger-archive-')), 'archive.jsonl')
})

/** Two families in January, one in February, one now. */
async function withMonths(policy: Parameters<typeof startLedger>[0] = {}): Promise<TestLedger> {
  const ledger = await startLedger(policy)
  const { owner } = ledger
  const user = await ledger.makeUser()
  await makeMonth(owner, '202601')
  await makeMonth(owner, '202602')
  await stopClock(owner.ownerSql, january)
  await ledger.refresh(await ledger.start(user))
  await ledger.start(user)
  await stopClock(owner.ownerSql, february)
  await ledger.start(user)
  await moveClock(owner.ownerSql, 0)
  await ledger.start(user)
  return ledger
}

const countFamilies = async ({ owner }: TestLedger) =>
  (await owner.ownerSql`select from token_ledger.token_family`).count
const archive = ({ owner }: TestLedger, beforeAt: number) =>
  archiveLedger(owner.ownerSql, { beforeAt, file })

test('closed months move from the ledger to a file, both verify, and the action is recorded', async () => {
  await using ledger = await withMonths()
  await ledger.owner.ownerSql`
    insert into token_ledger.replay_suspicion (family_id, seq, occurred_at)
    select family_id, 1, created_at from token_ledger.token_family`
  const archived = await archive(ledger, february)
  expect(archived).toMatchObject({ months: ['202601'], families: 2, events: 3 })
  expect(await ledger.owner.ownerSql`select from token_ledger.replay_suspicion`).toHaveLength(2)
  expect(await countFamilies(ledger)).toBe(2)
  const text = readFileSync(file, 'utf8').trimEnd()
  expect(await verifyExport(text.split('\n'))).toEqual({ families: 2, events: 3, problems: [] })
  const { ownerSql } = ledger.owner
  expect(await ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
  expect(await ownerSql`select to_regclass('token_ledger.token_event_202601') as gone`).toEqual([
    { gone: null },
  ])
  const [done] = await ownerSql`select action, reason from token_audit.admin_actions`
  expect(done).toEqual({
    action: 'ledger_archived',
    reason: `202601 to 202601: 2 families, 3 events, sha256 ${archived!.sha256}`,
  })
})

test('families of an archived month that expired without an end leave the table of open families', async () => {
  await using ledger = await withMonths({ absoluteMs: 400 * 24 * 3_600_000 })
  const { ownerSql } = ledger.owner
  const open = () => ownerSql`select from token_ledger.open_family`
  // Of people who did not sign in again, whose next sign-in would have removed them.
  await ownerSql`select token_ledger.rebuild_open_families()`
  expect(await open()).toHaveLength(4)
  await archive(ledger, february)
  expect(await open()).toHaveLength(2)
  expect(await ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
})

test('only whole months are archived, and never the current month', async () => {
  await using ledger = await withMonths()
  expect(await archive(ledger, march - 1)).toMatchObject({ months: ['202601'] })
  file += '.2'
  expect(await archive(ledger, Date.UTC(2999, 0, 1))).toMatchObject({ months: ['202602'] })
  expect(await countFamilies(ledger)).toBe(1)
  file += '.3'
  expect(await archive(ledger, Date.UTC(2999, 0, 1))).toBeNull()
  expect(existsSync(file)).toBe(false)
})

test('a month with a family that is still open is refused, and nothing is dropped', async () => {
  const yearMs = 366 * 24 * 3_600_000
  await using ledger = await withMonths({ idleMs: 10 * yearMs, absoluteMs: 10 * yearMs })
  await expect(archive(ledger, march)).rejects.toThrow('families of 202601 that are still open: 2')
  expect(await countFamilies(ledger)).toBe(4)
  expect(existsSync(file)).toBe(false)
})

test('a ledger that does not verify is not dropped', async () => {
  await using ledger = await withMonths()
  await tamper(ledger.owner, 'update token_ledger.token_event set generation = 2 where seq = 2')
  await expect(archive(ledger, march)).rejects.toThrow(ArchiveRefused)
  expect(await countFamilies(ledger)).toBe(4)
  expect(existsSync(file)).toBe(false)
})

test('an existing file is not overwritten', async () => {
  await using ledger = await withMonths()
  writeFileSync(file, 'precious')
  await expect(archive(ledger, march)).rejects.toMatchObject({ cause: { code: 'EEXIST' } })
  expect(readFileSync(file, 'utf8')).toBe('precious')
  expect(await countFamilies(ledger)).toBe(4)
})

test('sign-ins and refreshes go on while two processes archive months at once', async () => {
  await using ledger = await withMonths({ maxSessionsPerUser: 10_000 })
  const isOver = new AbortController()
  let refreshed = 0
  const writers = Array.from({ length: 8 }, async () => {
    const user = await ledger.makeUser()
    while (!isOver.signal.aborted) {
      await ledger.refresh(await ledger.start(user))
      refreshed += 1
    }
  })
  const one = archive(ledger, march)
  const file2 = `${file}.2`
  const two = archiveLedger(ledger.owner.ownerSql, { beforeAt: march, file: file2 })
  const results = await Promise.allSettled([one, two])
  isOver.abort()
  await Promise.all(writers)
  const done = results.flatMap((r) => (r.status === 'fulfilled' && r.value ? [r.value] : []))
  expect(done).toHaveLength(1)
  expect(done[0]).toMatchObject({ families: 3, events: 4 })
  expect(refreshed).toBeGreaterThan(0)
  expect(await countFamilies(ledger)).toBe(1 + refreshed)
  expect(await ledger.owner.ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
})
