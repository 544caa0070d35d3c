import { afterAll, beforeAll, expect, test } from 'vitest'
import { appendEnds } from '../../db/ledger/append.ts'
import type { Revoked } from '../../server/ledger/events.ts'
import { newAppend } from '../../server/sessions/revocation.ts'
import { startSession } from '../../server/sessions/sign-in.ts'
import type { LiveSession } from '../../server/sessions/session.ts'
import { startLedger, testCaller, type TestLedger } from '../support/ledger.ts'
import { lockFamily } from '../support/locks.ts'
import { kindsOf } from '../support/sessions.ts'
import { waitFor } from '../support/wait.ts'
import { recordStatements } from '../support/recorded-statements.ts'

// Sign-outs that come together share a transaction, as rotations do; a sign-in is one statement.

let ledger: TestLedger
beforeAll(async () => {
  ledger = await startLedger()
})
afterAll(() => ledger[Symbol.asyncDispose]())

const many = 20

function signOut({ token, transport }: LiveSession): Promise<number> {
  return ledger.signOut({ token, transport, caller: testCaller, everywhere: false, isOnly: true })
}

async function begin(count: number): Promise<LiveSession[]> {
  const users = await Promise.all(Array.from({ length: count }, () => ledger.makeUser()))
  return Promise.all(users.map((user) => ledger.start(user)))
}

/** The transactions that appended the newest events of these families. */
async function transactionsOf(sessions: readonly LiveSession[]): Promise<number> {
  const rows = await ledger.owner.ownerSql`
    select distinct txid
    from token_ledger.token_event
    where kind = 'revoked' and family_id = any(${sessions.map((s) => s.familyId)}::uuid[])`
  return rows.length
}

test('twenty sign-outs at once are two transactions', async () => {
  const sessions = await begin(many)
  expect(await Promise.all(sessions.map(signOut))).toEqual(sessions.map(() => 1))
  // The first, which is alone, and the others.
  expect(await transactionsOf(sessions)).toBe(2)
})

test('all processes are notified of every end of a group, once for the group', async () => {
  const sessions = await begin(many)
  const notified: number[] = []
  const listening = await ledger.owner.ownerSql.listen('token_ledger_ends', (payload) => {
    notified.push(Number(payload))
  })
  await Promise.all(sessions.map(signOut))
  await waitFor(() => notified.length >= 2)
  await listening.unlisten()
  expect(notified).toHaveLength(await transactionsOf(sessions))
  const [row] = await ledger.owner.ownerSql<{ first: number }[]>`
    select (extract(epoch from min(occurred_at)) * 1000)::float8 as first
    from token_ledger.token_event
    where kind = 'revoked' and family_id = any(${sessions.map((s) => s.familyId)}::uuid[])`
  expect(Math.min(...notified)).toBe(row!.first)
})

test('a group that the database writes is announced by its oldest end, and has none of a family that changed meanwhile', async () => {
  const [changed, ...others] = await begin(3)
  await ledger.refresh(changed!)
  const at = Date.now()
  const endOf = ({ familyId }: LiveSession, i: number) =>
    newAppend<Revoked>(
      familyId,
      {
        kind: 'revoked',
        seq: 2,
        generation: 0,
        at: at + 1_000 * i,
        reason: 'logout',
        actorUserId: null,
      },
      testCaller,
    )
  const notified: number[] = []
  const listening = await ledger.owner.ownerSql.listen('token_ledger_ends', (payload) => {
    notified.push(Number(payload))
  })
  const ended = await appendEnds(ledger.deps.sql, [changed!, ...others].map(endOf))
  expect(ended).toEqual(new Set(others.map(({ familyId }) => familyId)))
  await waitFor(() => notified.length > 0)
  await listening.unlisten()
  expect(notified).toEqual([at + 1_000])
})

test('a sign-out that the database refuses fails alone, and not the group that it is in', async () => {
  const sessions = await begin(many)
  const poisoned = sessions[many / 2]!
  const { ownerSql } = ledger.owner
  await ownerSql.unsafe(`
    create function public.refuse_poisoned() returns trigger language plpgsql as $$
    begin
      raise exception 'poisoned' using errcode = 'TL002';
    end $$;
    create trigger a_poison before insert on token_ledger.token_event
    for each row when (new.family_id = '${poisoned.familyId}') execute function public.refuse_poisoned()`)
  const answers = await Promise.allSettled(sessions.map(signOut))
  await ownerSql`drop trigger a_poison on token_ledger.token_event`
  for (const [i, answer] of answers.entries())
    expect(answer.status).toBe(sessions[i] === poisoned ? 'rejected' : 'fulfilled')
  expect(await kindsOf(ledger, poisoned.familyId)).toEqual(['issued'])
  expect(await signOut(poisoned)).toBe(1)
})

test('sign-outs that race with refreshes of their sessions all end them', async () => {
  const sessions = await begin(many)
  const raced = await Promise.all(
    sessions.map(async (session) => {
      const refreshing = ledger.refresh(session).catch((error: unknown) => error)
      const ended = await signOut(session)
      await refreshing
      return ended
    }),
  )
  expect(raced).toEqual(sessions.map(() => 1))
  for (const { familyId } of sessions)
    expect((await kindsOf(ledger, familyId)).at(-1)).toBe('revoked')
})

test('a sign-out of a family that is locked waits for it and delays no other sign-out', async () => {
  const [locked, other] = await begin(2)
  const holder = await lockFamily(ledger, locked!.familyId)
  let isOut = false
  const waiting = signOut(locked!).finally(() => (isOut = true))
  expect(await signOut(other!)).toBe(1)
  expect(isOut).toBe(false)
  await holder`rollback`
  holder.release()
  expect(await waiting).toBe(1)
})

test('a sign-in writes its session with one statement', async () => {
  const { sql, statements } = recordStatements(ledger.owner.url)
  try {
    const user = await ledger.makeUser()
    await sql`select 1`
    statements.length = 0
    await startSession(
      { ...ledger.deps, sql },
      {
        user,
        epoch: 0,
        transport: 'body',
        deviceName: null,
        caller: testCaller,
        methods: ['pwd'],
      },
    )
    expect(statements).toHaveLength(1)
  } finally {
    await sql.end()
  }
})
