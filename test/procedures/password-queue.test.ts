import { afterAll, beforeAll, expect, test } from 'vitest'
import { createCounters } from '../../server/limits/counters.ts'
import { createPasswordLimits } from '../../server/limits/password-limits.ts'
import { createHashQueue } from '../../server/users/hash-queue.ts'
import { startLedger, type TestLedger } from '../support/ledger.ts'

let ledger: TestLedger
beforeAll(async () => {
  ledger = await startLedger()
})
afterAll(() => ledger[Symbol.asyncDispose]())

test('a guess that the queue of its network refuses is not counted, and that of another network is', async () => {
  const queue = createHashQueue({ concurrency: 1, queueLimit: 10 })
  const limits = createPasswordLimits(ledger.database, createCounters(ledger.database), queue)
  const guess = (ip: string, check: () => Promise<boolean>) =>
    limits.countingPassword(
      {
        accountHash: ip,
        ip,
        isAddressShared: false,
        familyIds: [],
        findUserId: async () => null,
      },
      check,
    )
  const line = '2001:db8:1::/48'
  // A wrong password that took long: its network waits, with eight callers behind it.
  await queue.run(() => new Promise((resolve) => setTimeout(resolve, 300, false)), line)
  const waiting = Array.from({ length: 8 }, () => queue.run(async () => true, line))
  const notCalled = () => Promise.reject(new Error('checked'))
  await expect(guess('2001:db8:1:7::1', notCalled)).rejects.toMatchObject({
    reason: 'too_many_attempts',
  })
  expect(await guess('2001:db8:2:7::1', async () => false)).toBe(false)
  const counted = await ledger.owner.ownerSql`select key from token_ledger.rate_limit`
  const keys = counted.map(({ key }) => String(key))
  expect(keys.filter((key) => key.includes('2001:db8:2:'))).not.toEqual([])
  expect(keys.filter((key) => key.includes('2001:db8:1'))).toEqual([])
  await Promise.all(waiting)
})
