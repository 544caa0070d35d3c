import { randomBytes, randomUUID } from 'node:crypto'
import type { Sql } from 'postgres'
import { describe, expect, test } from 'vitest'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import { appendEvents } from '../../db/ledger/append.ts'
import { beginFamily } from '../../db/ledger/begin-family.ts'
import { bumpEpoch, lockFamilies } from '../../db/ledger/locks.ts'
import { fenced, type Transaction } from '../../db/connection/transaction.ts'
import { insertUserWithin, updateDisabled, updatePasswordHash, updateRole } from '../../db/users.ts'
import { createFamilyId } from '../../server/sessions/family-id.ts'
import { newAppend } from '../../server/sessions/revocation.ts'
import { startLedger, testCaller, type TestLedger } from '../support/ledger.ts'

/**
 * When the connection that held a lock dies, a driver may go on over a new one: the write then reaches Postgres
 * outside of the transaction that locked. The fence in each statement refuses such a write.
 */

const notLocked = /not in the transaction that locked/

describe('a write with the id of another transaction changes nothing', () => {
  test('an event of the ledger is refused in another transaction', async () => {
    await using ledger = await startLedger()
    const { familyId, append } = await begin(ledger)
    await inTwo(ledger, async (locking, other) => {
      const { txid, families } = await lockFamilies(locking, [familyId])
      expect(families.size).toBe(1)
      await expect(appendEvents(other, txid, [append])).rejects.toThrow(notLocked)
    })
    expect(await kindsOf(ledger, familyId)).toEqual(['issued'])
  })

  test('an event outside of any transaction, as on a new connection, is refused', async () => {
    await using ledger = await startLedger()
    const { familyId, append } = await begin(ledger)
    await inTwo(ledger, async (locking) => {
      const { txid } = await lockFamilies(locking, [familyId])
      const stray = ledger.database.statements as unknown as Transaction
      await expect(appendEvents(stray, txid, [append])).rejects.toThrow(notLocked)
    })
    expect(await kindsOf(ledger, familyId)).toEqual(['issued'])
  })

  test('the same event is appended in the transaction that locked', async () => {
    await using ledger = await startLedger()
    const { familyId, append } = await begin(ledger)
    await inTwo(ledger, async (locking) => {
      const { txid } = await lockFamilies(locking, [familyId])
      await appendEvents(locking, txid, [append])
    })
    expect(await kindsOf(ledger, familyId)).toEqual(['issued', 'revoked'])
  })

  test('a new family and a new epoch are refused', async () => {
    await using ledger = await startLedger()
    const user = await ledger.makeUser()
    const family = {
      userId: user.id,
      epoch: 0,
      subject: null,
      maxOpen: null,
      randomId: createFamilyId(0),
      transport: 'body',
      deviceName: null,
      idleMs: 60_000,
      absoluteMs: 60_000,
      tokenHash: randomBytes(32),
      caller: testCaller,
      callerSalt: randomBytes(16),
      methods: ['pwd'],
      authenticatedAt: null,
    } as const
    const { ownerSql } = ledger.owner
    await inTwo(ledger, async (locking, other) => {
      const { txid } = await fenced(locking)
      await expect(beginFamily(other, family, txid)).rejects.toThrow(notLocked)
    })
    await inTwo(ledger, async (locking, other) => {
      await ownerSql`insert into token_ledger.user_epoch (user_id) values (${user.id})`
      const { txid } = await fenced(locking)
      await expect(bumpEpoch(other, txid, user.id)).rejects.toThrow(notLocked)
    })
    expect(await countOf(ownerSql`select from token_ledger.token_family`)).toBe(0)
    expect(await countOf(ownerSql`select from token_ledger.user_epoch where epoch > 0`)).toBe(0)
  })

  test('changes of a user and the record of an admin action are refused', async () => {
    await using ledger = await startLedger()
    const user = await ledger.makeUser()
    const { ownerSql } = ledger.owner
    const before = await ownerSql`select * from token_ledger.user_account`
    await inTwo(ledger, async (locking, other) => {
      const { txid } = await fenced(locking)
      const outside = { tx: other, txid }
      await updateRole(outside, user.id, 'admin')
      await updateDisabled(outside, user.id, true)
      await updatePasswordHash(outside, user.id, 'another')
      const row = { userId: randomUUID(), email: 'new@example.com', passwordHash: 'x' }
      expect(await insertUserWithin(outside, { ...row, role: 'user' })).toBe(false)
      const action = { action: 'user_created', actorUserId: null } as const
      await expect(insertAdminAction(outside, action)).rejects.toThrow(/not written in its/)
    })
    expect(await ownerSql`select * from token_ledger.user_account`).toEqual(before)
    expect(await countOf(ownerSql`select from token_ledger.admin_action`)).toBe(0)
  })
})

async function begin(ledger: TestLedger) {
  const { familyId, signedInAt } = await ledger.start(await ledger.makeUser())
  const event = {
    kind: 'revoked',
    seq: 2,
    generation: 0,
    at: signedInAt,
    reason: 'logout',
    actorUserId: null,
  } as const
  return { familyId, append: newAppend(familyId, event, testCaller) }
}

/** Two open transactions at once; both commit, so that a write of either would stay. */
async function inTwo(
  { database }: TestLedger,
  work: (locking: Transaction, other: Transaction) => Promise<void>,
): Promise<void> {
  await database.transactions.begin((locking) =>
    database.transactions.begin((other) => work(locking, other)),
  )
}

async function kindsOf({ owner }: TestLedger, familyId: string): Promise<string[]> {
  const rows = await owner.ownerSql<{ kind: string }[]>`
    select kind from token_ledger.token_event where family_id = ${familyId} order by seq`
  return rows.map(({ kind }) => kind)
}

async function countOf(rows: ReturnType<Sql>): Promise<number> {
  return (await rows).length
}
