import { expect, test } from 'vitest'
import { listActiveSessions, listOwnSessions } from '../../db/audit/sessions.ts'
import { endSession } from '../../server/sessions/revocation.ts'
import { startLedger, testCaller } from '../support/ledger.ts'

test('pages that are asked for together hold each user its own active sessions, newest first', async () => {
  await using ledger = await startLedger()
  const by = { reason: 'logout', actorUserId: null, caller: testCaller } as const
  const users = await Promise.all(['ada', 'bob', 'cid'].map(() => ledger.makeUser()))
  const [ada, bob, cid] = users as [(typeof users)[0], (typeof users)[0], (typeof users)[0]]
  for (let round = 0; round < 3; round++) {
    await ledger.refresh(await ledger.start(ada))
    await ledger.start(bob)
    const { familyId } = await ledger.start(ada)
    await endSession(ledger.deps, { familyId }, by)
  }
  const idsOf = async (userId: string) =>
    (await listActiveSessions(ledger.database, { userId }, { limit: 50 })).map(
      (session) => session.familyId,
    )
  const adas = await idsOf(ada.id)
  const bobs = await idsOf(bob.id)
  expect([adas.length, bobs.length]).toEqual([3, 3])

  const pages = await listOwnSessions(ledger.database, [
    { userId: bob.id, limit: 2 },
    { userId: cid.id, limit: 50 },
    { userId: ada.id, limit: 50 },
    { userId: bob.id, limit: 2, cursor: bobs[1] },
    { userId: ada.id, limit: 1, cursor: adas[0] },
  ])
  expect(pages.map((page) => page.map(({ familyId }) => familyId))).toEqual([
    bobs.slice(0, 2),
    [],
    adas,
    bobs.slice(2),
    adas.slice(1, 2),
  ])
})

test('a page of own sessions says the same of each session as the view of sessions', async () => {
  await using ledger = await startLedger()
  const user = await ledger.makeUser()
  await ledger.start(user)
  await ledger.refresh(await ledger.start(user))
  const listed = await listActiveSessions(ledger.database, { userId: user.id }, { limit: 9 })
  const ms = (instant: string | Date | null) => instant && new Date(instant).getTime()
  const [own] = await listOwnSessions(ledger.database, [{ userId: user.id, limit: 9 }])
  expect(own).toHaveLength(2)
  expect(own).toEqual(
    listed.map((session) =>
      expect.objectContaining({
        familyId: session.familyId,
        transport: session.transport,
        deviceName: session.deviceName,
        createdAt: ms(session.createdAt),
        lastRotatedAt: ms(session.lastRotatedAt),
        expiresAt: ms(session.expiresAt),
        ip: session.ip,
        userAgent: session.userAgent,
        methods: session.methods?.join(' '),
        authenticatedAt: ms(session.authenticatedAt),
      }),
    ),
  )
})
