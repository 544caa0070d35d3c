import { expect, test } from 'vitest'
import { deleteStaleCounts } from '../../db/rate-limits.ts'
import { startLedger } from '../support/ledger.ts'

test('counts that expired before an instant are deleted, the oldest first and a limited number at once', async () => {
  await using ledger = await startLedger()
  const { ownerSql } = ledger.owner
  await ownerSql`
    insert into token_ledger.rate_limit (key, points, expire)
    select 'key-' || n, 1, n from generate_series(1, 10) n
    union all select 'key-of-ever', 1, null`
  expect(await deleteStaleCounts(ledger.database, 8, 5)).toBe(5)
  expect(await deleteStaleCounts(ledger.database, 8, 5)).toBe(2)
  expect(await deleteStaleCounts(ledger.database, 8, 5)).toBe(0)
  const left = await ownerSql<{ key: string }[]>`
    select key from token_ledger.rate_limit order by expire nulls last`
  expect(left.map(({ key }) => key)).toEqual(['key-8', 'key-9', 'key-10', 'key-of-ever'])
})
