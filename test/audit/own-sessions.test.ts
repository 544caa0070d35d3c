import { expect, test } from 'vitest'
import { searchSessions } from '../../db/audit/session-search.ts'
import {
  listOwnSessions,
  listSessionsOfUsers,
  type OwnSession,
} from '../../db/audit/pages-of-users.ts'
import type { SessionRow } from '../../db/audit/session-row.ts'
import { listActiveSessions, listSessions, readSession } from '../../db/audit/sessions.ts'
import { endSession } from '../../server/sessions/revocation.ts'
import { startLedger, testCaller } from '../support/ledger.ts'

test('pages that are asked for together hold the sessions of each user, newest first', async () => {
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

  const asked = (ofBob: readonly string[], ofAda: readonly string[]) => [
    { userId: bob.id, limit: 2 },
    { userId: cid.id, limit: 50 },
    { userId: ada.id, limit: 50 },
    { userId: bob.id, limit: 2, cursor: ofBob[1] },
    { userId: ada.id, limit: 1, cursor: ofAda[0] },
  ]
  const idsIn = (pages: readonly (readonly { familyId: string }[])[]) =>
    pages.map((page) => page.map(({ familyId }) => familyId))
  expect(idsIn(await listOwnSessions(ledger.database, asked(bobs, adas)))).toEqual([
    bobs.slice(0, 2),
    [],
    adas,
    bobs.slice(2),
    adas.slice(1, 2),
  ])

  // With those of Ada that have ended.
  const allAdas = (await listSessions(ledger.database, { userId: ada.id }, { limit: 50 })).map(
    ({ familyId }) => familyId,
  )
  expect(allAdas).toHaveLength(6)
  expect(idsIn(await listSessionsOfUsers(ledger.database, asked(bobs, allAdas)))).toEqual([
    bobs.slice(0, 2),
    [],
    allAdas,
    bobs.slice(2),
    allAdas.slice(1, 2),
  ])
})

test('each list of sessions says what the view of sessions says', async () => {
  await using ledger = await startLedger()
  const { database } = ledger
  const user = await ledger.makeUser()
  await ledger.start(user)
  await ledger.refresh(await ledger.start(user))
  const stolen = await ledger.start(user)
  await ledger.refresh(await ledger.refresh(stolen))
  await expect(ledger.refresh(stolen)).rejects.toMatchObject({ reason: 'refresh_token_reused' })
  const view = await ledger.owner.ownerSql`
    select * from token_audit.sessions where user_id = ${user.id} order by family_id desc`
  const rows = view.map((row): SessionRow => ({
    familyId: row.family_id,
    userId: row.user_id,
    subject: row.subject,
    email: row.email,
    status: row.status,
    transport: row.transport,
    deviceName: row.device_name,
    createdAt: row.created_at.getTime(),
    lastRotatedAt: row.last_rotated_at?.getTime() ?? null,
    rotations: row.rotations,
    expiresAt: row.expires_at.getTime(),
    absoluteExpiresAt: row.absolute_expires_at.getTime(),
    endedAt: row.ended_at?.getTime() ?? null,
    endReason: row.end_reason,
    incidentId: row.incident_id,
    ip: row.ip,
    userAgent: row.user_agent,
    methods: row.methods.join(' '),
    authenticatedAt: row.authenticated_at.getTime(),
  }))
  const [last, ...active] = rows
  expect(rows.map(({ status }) => status)).toEqual(['reuse_detected', 'active', 'active'])

  const page = { limit: 9 }
  expect([...(await listSessions(database, { userId: user.id }, page))]).toEqual(rows)
  const [ofUser] = await listSessionsOfUsers(database, [{ userId: user.id, ...page }])
  expect(ofUser).toEqual(rows.map((session) => ({ page: 1, ...session })))
  expect((await searchSessions(database, { userId: user.id }, page)).rows).toEqual(rows)
  expect([...(await listActiveSessions(database, { userId: user.id }, page))]).toEqual(active)
  expect(await readSession(database, last!.familyId)).toEqual(last)
  const [own] = await listOwnSessions(database, [{ userId: user.id, ...page }])
  expect(own).toEqual(active.map((session) => expect.objectContaining(ownPartOf(session))))
})

function ownPartOf(session: SessionRow): OwnSession {
  const { familyId, transport, deviceName, createdAt, lastRotatedAt } = session
  const { expiresAt, ip, userAgent, methods, authenticatedAt } = session
  return {
    familyId,
    transport,
    deviceName,
    createdAt,
    lastRotatedAt,
    expiresAt,
    ip,
    userAgent,
    methods,
    authenticatedAt,
  }
}
