import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { listActiveSessions } from '../../db/audit/sessions.ts'
import { AuthError } from '../../server/errors.ts'
import { endAllSessions, endSession } from '../../server/sessions/revocation.ts'
import type { LiveSession } from '../../server/sessions/session.ts'
import type { User } from '../../server/users/directory.ts'
import { readEpoch } from '../../db/ledger/locks.ts'
import { stopClock } from '../support/clock.ts'
import { startLedger, testCaller } from '../support/ledger.ts'
import { seeded } from '../support/proxy.ts'
import { repeats } from '../support/long.ts'

const commands = repeats(400, 1_000)
const hourMs = 3_600_000

/** What the service answered for one session, at this instant of the database. */
type SessionAnswer = {
  readonly at: number
  readonly familyId: string
  readonly status: string
  readonly generation?: number
  readonly expiresAt?: number
  readonly endReason?: string
  readonly incidentId?: string | undefined
}

test(`FS-03: SQL reconstructs each of ${commands} random answers of the service`, async () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
  const random = seeded(seed)
  await using ledger = await startLedger({
    idleMs: 2 * hourMs,
    absoluteMs: 12 * hourMs,
    maxSessionsPerUser: 4,
  })
  const { ownerSql } = ledger.owner
  const users = [await ledger.makeUser(), await ledger.makeUser(), await ledger.makeUser()]
  const pick = <T>(from: readonly T[]): T | undefined => from[Math.floor(random() * from.length)]
  const held: { user: User; session: LiveSession; attemptId: string | null }[] = []
  const answers: SessionAnswer[] = []
  const lists: { at: number; userId: string; familyIds: string[] }[] = []
  const rows: { at: number; row: string }[] = []
  const started = Date.UTC(2026, 0, 31, 22)
  let at = started

  const granted = (user: User, session: LiveSession, attemptId: string | null) => {
    held.push({ user, session, attemptId })
    answers.push({
      at,
      familyId: session.familyId,
      status: 'active',
      generation: session.token.generation,
      expiresAt: session.refreshExpiresAt,
    })
  }

  for (let i = 0; i < commands; i++) {
    at += 1 + Math.floor(random() ** 6 * 3 * hourMs)
    await stopClock(ownerSql, at)
    const user = pick(users)!
    // Mostly the newest tokens, sometimes any token that was ever handed out.
    const chosen = random() < 0.7 ? pick(held.slice(-12)) : pick(held)
    const dice = random()
    if (chosen === undefined || dice < 0.2) {
      const epoch = await readEpoch(ledger.database, user.id)
      granted(user, await ledger.start(user, { epoch }), null)
    } else if (dice < 0.9) {
      const attemptId = random() < 0.5 ? randomUUID() : chosen.attemptId
      try {
        granted(chosen.user, await ledger.refresh(chosen.session, attemptId), attemptId)
      } catch (error) {
        if (!(error instanceof AuthError)) throw error
        answers.push({ at, familyId: chosen.session.familyId, ...refusedAs(error) })
      }
    } else if (dice < 0.97) {
      const { familyId } = chosen.session
      const by = { reason: 'logout', actorUserId: null, caller: testCaller } as const
      if (await endSession(ledger.deps, { familyId }, by))
        answers.push({ at, familyId, status: 'revoked', endReason: 'logout' })
    } else {
      const by = { reason: 'logout_everywhere', actorUserId: user.id, caller: testCaller } as const
      await endAllSessions(ledger.deps, user.id, { by })
    }
    const active = await listActiveSessions(ledger.database, { userId: user.id }, { limit: 200 })
    lists.push({ at, userId: user.id, familyIds: active.map((s) => s.familyId).toSorted() })
    const one = pick(active)
    if (one !== undefined && i % 5 === 0) {
      const [row] = await ownerSql<{ row: string }[]>`
        select to_jsonb(s)::text as row from token_audit.sessions s where family_id = ${one.familyId}`
      rows.push({ at, row: row!.row })
    }
  }

  const statuses = new Set(answers.map((answer) => answer.status))
  expect([...statuses].toSorted(), `seed ${seed}`).toEqual([
    'active',
    'expired',
    'reuse_detected',
    'revoked',
  ])
  const states = await ownerSql`
    select
      status, generation, (extract(epoch from expires_at) * 1000)::float8 as expires_at, end_reason,
      incident_id
    from unnest(${answers.map((a) => a.familyId)}::uuid[], ${answers.map((a) => instant(a.at))}::timestamptz[])
      with ordinality as asked(family_id, at, n)
    cross join lateral token_audit.session_state_at(asked.family_id, asked.at)
    order by n`
  expect(states.length).toBe(answers.length)
  for (const [i, answer] of answers.entries()) {
    const { status, generation, expiresAt, endReason, incidentId } = answer
    expect(states[i], `seed ${seed}, ${JSON.stringify(answer)}`).toMatchObject({
      status,
      ...(generation !== undefined && { generation }),
      ...(expiresAt !== undefined && { expires_at: expiresAt }),
      ...(endReason !== undefined && { end_reason: endReason }),
      ...(incidentId !== undefined && { incident_id: incidentId }),
    })
  }
  const there = await ownerSql<{ family_ids: string[] }[]>`
    select
      array(
        select family_id::text
        from token_audit.sessions_at(asked.at) s
        where s.user_id = asked.user_id
        order by 1) as family_ids
    from unnest(${lists.map((l) => l.userId)}::uuid[], ${lists.map((l) => instant(l.at))}::timestamptz[])
      with ordinality as asked(user_id, at, n)
    order by n`
  for (const [i, list] of lists.entries())
    expect(there[i]?.family_ids, `seed ${seed}, at ${list.at}`).toEqual(list.familyIds)
  for (const { at: then, row } of rows) {
    const [again] = await ownerSql`
      select to_jsonb(s)::text as row
      from token_audit.sessions_at(${instant(then)}::timestamptz) s
      where family_id = ${(JSON.parse(row) as { family_id: string }).family_id}`
    expect(again?.row, `seed ${seed}, at ${then}`).toBe(row)
  }
  expect(await ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
}, 120_000)

test('a session is in no answer before its first moment, and in every answer from then on', async () => {
  await using ledger = await startLedger()
  const { ownerSql } = ledger.owner
  const at = Date.UTC(2026, 1, 1)
  await stopClock(ownerSql, at)
  const { familyId } = await ledger.start(await ledger.makeUser())
  const stateAt = (ms: number) => ownerSql`
    select status from token_audit.session_state_at(${familyId}, ${instant(ms)}::timestamptz)`
  const idleMs = ledger.deps.policy.idleMs
  expect(await stateAt(at - 1)).toEqual([])
  expect(await stateAt(at)).toEqual([{ status: 'active' }])
  expect(await stateAt(at + idleMs - 1)).toEqual([{ status: 'active' }])
  expect(await stateAt(at + idleMs)).toEqual([{ status: 'expired' }])
})

function refusedAs(error: AuthError): Pick<SessionAnswer, 'status' | 'incidentId'> {
  switch (error.reason) {
    case 'session_expired':
      return { status: 'expired' }
    case 'session_revoked':
      return { status: 'revoked', incidentId: error.extras.incidentId }
    case 'refresh_token_reused':
      return { status: 'reuse_detected', incidentId: error.extras.incidentId }
    case 'too_many_attempts':
      return { status: 'active' }
    default:
      throw error
  }
}

function instant(atMs: number): string {
  return new Date(atMs).toISOString()
}
