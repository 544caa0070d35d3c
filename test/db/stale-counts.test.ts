import { expect, test } from 'vitest'
import { changePoints, deleteStaleCounts } from '../../db/limit-counts.ts'
import { moveClock } from '../support/clock.ts'
import { startLedger } from '../support/ledger.ts'

test('counts that are over are deleted, the oldest first and a limited number at once', async () => {
  await using ledger = await startLedger()
  const { ownerSql } = ledger.owner
  await ownerSql`
    insert into token_ledger.rate_limit (key, points, expire)
    select 'over-' || n, 1, n from generate_series(1, 7) n
    union all
    select 'counting', 1, (extract(epoch from token_ledger.clock()) * 1000)::bigint + 60000
    union all select 'key-of-ever', 1, null`
  const keys = async () => {
    const left = await ownerSql<{ key: string }[]>`
      select key from token_ledger.rate_limit order by expire nulls last`
    return left.map(({ key }) => key)
  }
  expect(await deleteStaleCounts(ledger.database, 5)).toBe(5)
  expect(await keys()).toEqual(['over-6', 'over-7', 'counting', 'key-of-ever'])
  expect(await deleteStaleCounts(ledger.database, 5)).toBe(2)
  expect(await deleteStaleCounts(ledger.database, 5)).toBe(0)
  expect(await keys()).toEqual(['counting', 'key-of-ever'])
})

test('a count that began while the clock was ahead lasts no longer than any other', async () => {
  await using ledger = await startLedger()
  const day = 24 * 3_600_000
  const count = async () => {
    const [row] = await changePoints(ledger.database, [{ key: 'a', points: 1, durationMs: 60_000 }])
    return row!
  }
  await moveClock(ledger.owner.ownerSql, 40 * day)
  await count()
  await moveClock(ledger.owner.ownerSql, 0)
  const { points, msLeft } = await count()
  expect(points).toBe(2)
  expect(msLeft).toBeLessThanOrEqual(60_000)
})
