import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { appendEvents, bumpEpoch, insertFamily, lockUser, type Append } from '../../db/ledger.ts'
import { inTransaction, type Transaction } from '../../db/transaction.ts'
import { createFamilyId } from '../../server/family-id.ts'
import type { LiveSession } from '../../server/sessions.ts'
import { startLedger, testOrigin, type TestLedger } from '../support/ledger.ts'

let ledger: TestLedger
let session: LiveSession
beforeAll(async () => {
  ledger = await startLedger()
  session = await ledger.start(await ledger.makeUser())
})
afterAll(() => ledger[Symbol.asyncDispose]())

/** The id of a transaction that is over: as after a reconnect nobody has noticed. */
const otherTxid = '3'

test.each<[string, (tx: Transaction) => Promise<void>]>([
  ['an event', (tx) => appendEvents(tx, otherTxid, [revocation()])],
  [
    'a family',
    (tx) =>
      insertFamily(tx, otherTxid, {
        familyId: createFamilyId(Date.now()),
        userId: session.user.id,
        transport: 'body',
        deviceName: null,
        createdAt: Date.now(),
        absoluteExpiresAt: Date.now() + 1_000,
      }),
  ],
  ['an end of everything', (tx) => bumpEpoch(tx, otherTxid, session.user.id)],
])(
  '%s of another transaction than the one that locked is not written, and that is told',
  async (_what, write) => {
    const before = await rows()
    // Committed: nothing but the fence keeps it out.
    await inTransaction(ledger.deps.sql, async (tx) => {
      await lockUser(tx, session.user.id)
      await expect(write(tx)).rejects.toThrow('0 of 1 rows written')
    })
    expect(await rows()).toEqual(before)
  },
)

function revocation(): Append {
  return {
    familyId: session.familyId,
    event: {
      kind: 'revoked',
      seq: 2,
      generation: 0,
      at: Date.now(),
      reason: 'logout',
      actorUserId: null,
    },
    origin: testOrigin,
    originSalt: randomBytes(16),
  }
}

async function rows() {
  const [counts] = await ledger.owner.ownerSql`
    select
      (select count(*)::int from token_ledger.token_event) as events,
      (select count(*)::int from token_ledger.token_family) as families,
      (select sum(epoch)::int from token_ledger.user_epoch) as epochs`
  return counts
}
