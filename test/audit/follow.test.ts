import { expect, test } from 'vitest'
import { readForward, readHorizon, type ListedEvent } from '../../db/audit/events.ts'
import { lockFamilies, lockUsers } from '../../db/ledger/locks.ts'
import { inTransaction } from '../../db/connection/transaction.ts'
import { AuthError } from '../../server/errors.ts'
import { followLedger } from '../../server/audit/tail.ts'
import { connect } from '../../db/connection/connect.ts'
import { createRotation } from '../../server/sessions/rotation.ts'
import { endSession, revokeLocked } from '../../server/sessions/revocation.ts'
import { startSession } from '../../server/sessions/sign-in.ts'
import type { LiveSession } from '../../server/sessions/session.ts'
import { startLedger, testCaller } from '../support/ledger.ts'

const writers = 16
const runMs = 4_000

class RolledBack extends Error {}

test(`LE-04, V27: ${writers} writers with random rollbacks: a reader that reconnects at random gets every event once, in order`, async () => {
  await using ledger = await startLedger({ maxSessionsPerUser: 1_000 })
  await using pool = Object.assign(
    connect(ledger.owner.url, { role: 'token_ledger_app', maxConnections: writers }),
    { [Symbol.asyncDispose]: () => pool.close() },
  )
  const deps = { ...ledger.deps, sql: pool.transactions }
  const { rotate } = createRotation(deps)
  const users = await Promise.all(Array.from({ length: 4 }, () => ledger.makeUser()))
  const start = await readHorizon(ledger.database)
  const endsAt = Date.now() + runMs
  let rollbacks = 0
  // The newest session of each writer, so that a slow writer ends one that another still refreshes.
  const newest = new Map<number, LiveSession>()

  const write = async (n: number) => {
    const user = users[n % users.length]!
    while (Date.now() < endsAt) {
      const dice = Math.random()
      const signIn = {
        user,
        epoch: 0,
        transport: 'body',
        deviceName: null,
        caller: testCaller,
        methods: ['pwd'],
      } as const
      let session = await startSession(deps, signIn)
      newest.set(n, session)
      for (let i = 0; i < 6; i++) {
        const next = await rotate({ ...session, attemptId: null, caller: testCaller }).catch(
          (error: unknown) => {
            if (!(error instanceof AuthError)) throw error
            return null
          },
        )
        if (next === null) break
        session = next
      }
      const by = { reason: 'logout', actorUserId: null, caller: testCaller } as const
      if (dice < 0.5) await endSession(deps, { familyId: session.familyId }, by)
      // Takes a transaction id early, waits, writes late, and rolls back half of the time.
      await inTransaction(deps.sql, async (tx) => {
        await lockUsers(tx, [user.id])
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 20))
        const theirs = newest.get(Math.floor(Math.random() * writers)) ?? session
        const { txid, families } = await lockFamilies(tx, [theirs.familyId])
        await revokeLocked(tx, { txid, families: [...families.values()], by })
        if (Math.random() < 0.5) throw new RolledBack()
      }).catch((error: unknown) => {
        if (!(error instanceof RolledBack)) throw error
        rollbacks += 1
      })
    }
  }

  const seen: ListedEvent[] = []
  const done = new AbortController()
  const reader = (async () => {
    let position = start
    while (!done.signal.aborted) {
      // Reconnects again and again, after the last event it got.
      const visit = new AbortController()
      const timer = setTimeout(() => visit.abort(), Math.random() * 400)
      const signal = AbortSignal.any([visit.signal, done.signal])
      for await (const event of followLedger(ledger.database, {
        after: position,
        signal,
      })) {
        seen.push(event)
        position = event.position
        if (Math.random() < 0.01) break
      }
      clearTimeout(timer)
    }
    return position
  })()
  await Promise.all(Array.from({ length: writers }, (_, n) => write(n)))
  done.abort()
  let position = await reader

  const committed = await ledger.owner.ownerSql<{ family_id: string; seq: number }[]>`
    select family_id, seq from token_ledger.token_event`
  // An open transaction in any database of the server holds the reader back.
  const atLast = async () => {
    const events = await readForward(ledger.database, position, 100_000)
    seen.push(...events)
    position = events.at(-1)?.position ?? position
    return seen.length
  }
  await expect.poll(atLast).toBeGreaterThanOrEqual(committed.length)
  const keys = seen.map((event) => key(event.familyId, event.seq))
  expect(rollbacks).toBeGreaterThan(10)
  expect(new Set(keys).size).toBe(keys.length)
  expect(keys.toSorted()).toEqual(committed.map((row) => key(row.family_id, row.seq)).toSorted())
  const lastSeq = new Map<string, number>()
  for (const { familyId, seq } of seen) {
    expect(seq).toBe((lastSeq.get(familyId) ?? 0) + 1)
    lastSeq.set(familyId, seq)
  }
}, 60_000)

test('a transaction that began early and wrote late is read after the events it followed', async () => {
  await using ledger = await startLedger()
  const user = await ledger.makeUser()
  const session = await ledger.start(user)
  const start = await readHorizon(ledger.database)
  // Transaction ids are one sequence for the whole server: an open transaction in any database holds the reader back,
  // here from the later events, and before that from the sign-in.
  const readBehindSignIn = async () => {
    const events = await readForward(ledger.database, start, 10)
    return events.filter(({ seq }) => seq > 1).map(({ seq, kind }) => [seq, kind])
  }
  const by = { reason: 'logout', actorUserId: null, caller: testCaller } as const
  await inTransaction(ledger.database.transactions, async (tx) => {
    await lockUsers(tx, [user.id])
    // Another transaction, with a later id, commits in between.
    await ledger.refresh(session)
    expect(await readBehindSignIn()).toEqual([])
    const { txid, families } = await lockFamilies(tx, [session.familyId])
    await revokeLocked(tx, { txid, families: [...families.values()], by })
  })
  await expect.poll(readBehindSignIn).toEqual([
    [2, 'rotated'],
    [3, 'revoked'],
  ])
})

function key(familyId: string, seq: number): string {
  return `${familyId}:${seq}`
}
