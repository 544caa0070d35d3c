import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { readFamilies } from '../../db/ledger/families.ts'
import { appendUnlessChanged } from '../../db/ledger/append.ts'
import type { Append } from '../../db/ledger/event-rows.ts'
import type { Rotated } from '../../server/ledger/events.ts'
import { endSession, newAppend } from '../../server/sessions/revocation.ts'
import type { LiveSession } from '../../server/sessions/session.ts'
import { startLedger, testCaller, type TestLedger } from '../support/ledger.ts'
import { kindsOf } from '../support/sessions.ts'

const noActor = { actorUserId: null, caller: testCaller } as const

test('of a batch, events decided on the newest history are appended, and the others are not', async () => {
  await using ledger = await startLedger()
  const [same, goneOn, over, locked] = await startSessions(ledger, 4)
  const decided = await Promise.all(
    [same!, goneOn!, over!, locked!].map((one) => rotationOf(ledger, one)),
  )
  await ledger.refresh(goneOn!)
  await endSession(ledger.deps, over!, { reason: 'logout', ...noActor })
  const holder = await ledger.owner.ownerSql.reserve()
  await holder`begin`
  await holder`
    select from token_ledger.token_family where family_id = ${locked!.familyId} for update`

  const appended = await appendUnlessChanged(ledger.database.transactions, decided)
  expect([...appended]).toEqual([same!.familyId])
  await holder`rollback`
  holder.release()
  expect(await kindsOf(ledger, same!.familyId)).toEqual(['issued', 'rotated'])
  expect(await kindsOf(ledger, goneOn!.familyId)).toEqual(['issued', 'rotated'])
  expect(await kindsOf(ledger, over!.familyId)).toEqual(['issued', 'revoked'])
  expect(await kindsOf(ledger, locked!.familyId)).toEqual(['issued'])
  expect(await ledger.owner.ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
})

test('a rotation of an older process, which sends no authentication, has that of the token before', async () => {
  await using ledger = await startLedger()
  const [session] = await startSessions(ledger, 1)
  await appendUnlessChanged(ledger.database.transactions, [await rotationOf(ledger, session!)])
  const [rotated] = await ledger.owner.ownerSql`
    select methods from token_ledger.token_event where family_id = ${session!.familyId} and kind = 'rotated'`
  expect(rotated).toEqual({ methods: ['pwd'] })
  expect(await ledger.owner.ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
})

test('of twenty events decided on the same history at once, one is appended', async () => {
  await using ledger = await startLedger()
  const [session] = await startSessions(ledger, 1)
  const decided = await Promise.all(Array.from({ length: 20 }, () => rotationOf(ledger, session!)))
  const appended = await Promise.all(
    decided.map((one) => appendUnlessChanged(ledger.database.transactions, [one])),
  )
  expect(appended.filter(({ size }) => size === 1)).toHaveLength(1)
  expect(await kindsOf(ledger, session!.familyId)).toEqual(['issued', 'rotated'])
})

test('an event that Postgres refuses fails its whole batch', async () => {
  await using ledger = await startLedger()
  const [one, other] = await startSessions(ledger, 2)
  const good = await rotationOf(ledger, one!)
  const { event, ...rest } = await rotationOf(ledger, other!)
  const bad = { ...rest, event: { ...event, generation: 7 } }
  await expect(
    appendUnlessChanged(ledger.database.transactions, [good, bad]),
  ).rejects.toMatchObject({
    code: 'TL002',
  })
  expect(await kindsOf(ledger, one!.familyId)).toEqual(['issued'])
})

test('the events of a replayed or ended family are read from three generations before the current one on', async () => {
  await using ledger = await startLedger()
  const [session] = await startSessions(ledger, 1)
  const { familyId } = session!
  const generations = [session!]
  for (let i = 0; i < 4; i++) generations.push(await ledger.refresh(generations.at(-1)!))
  await ledger.refresh(generations.at(-2)!)
  const read = async (generation: number | null) => {
    const { families } = await readFamilies(ledger.database.transactions, [
      { familyId, generation },
    ])
    return families.get(familyId)!
  }
  const kinds = async () => (await read(null)).events.map(({ kind }) => kind)
  const rotations = Array.from({ length: 4 }, () => 'rotated')
  expect(await kinds()).toEqual([...rotations, 'replayed'])
  await endSession(ledger.deps, { familyId }, { reason: 'logout', ...noActor })
  expect(await kinds()).toEqual([...rotations, 'replayed', 'revoked'])
  const hashes = await ledger.owner.ownerSql<{ token_hash: Buffer }[]>`
    select token_hash from token_ledger.token_event
    where family_id = ${familyId} and token_hash is not null order by seq`
  expect((await read(0)).tokenHash).toEqual(hashes[0]!.token_hash)
  expect((await read(1)).tokenHash).toEqual(hashes[1]!.token_hash)
  expect((await read(5)).tokenHash).toBeNull()
  expect((await read(null)).account?.userId).toBe(session!.user.id)
  const stranger = { familyId: '01990000-0000-7000-8000-000000000000', generation: 0 }
  const strangers = await readFamilies(ledger.database.transactions, [stranger])
  expect(strangers.families.size).toBe(0)
})

async function startSessions(ledger: TestLedger, count: number): Promise<LiveSession[]> {
  const user = await ledger.makeUser()
  const sessions: LiveSession[] = []
  while (sessions.length < count) sessions.push(await ledger.start(user))
  return sessions
}

/** The rotation of a session, decided on its history as it is now. */
async function rotationOf(ledger: TestLedger, { familyId }: LiveSession): Promise<Append<Rotated>> {
  const asked = { familyId, generation: null }
  const { now, families } = await readFamilies(ledger.database.transactions, [asked])
  const last = families.get(familyId)!.events.at(-1)!
  const absoluteExpiresAt = 'absoluteExpiresAt' in last ? last.absoluteExpiresAt : 0
  const event: Rotated = {
    kind: 'rotated',
    seq: last.seq + 1,
    generation: last.generation + 1,
    at: now,
    tokenHash: randomBytes(32),
    salt: randomBytes(16),
    attemptHash: null,
    expiresAt: now + 60_000,
    absoluteExpiresAt,
    authentication: null,
  }
  return newAppend(familyId, event, testCaller)
}
