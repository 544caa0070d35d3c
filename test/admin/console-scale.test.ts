import { expect } from 'vitest'
import { countHours } from '../../db/audit/event-hours.ts'
import { listFamilyEvents } from '../../db/audit/events.ts'
import { listOwnEvents } from '../../db/audit/own-events.ts'
import { countActiveSessions } from '../../db/audit/session-counts.ts'
import { searchSessions } from '../../db/audit/session-search.ts'
import { listSessions, readSession, verifyFamily } from '../../db/audit/sessions.ts'
import { countEvents } from '../../db/audit/statistics.ts'
import { listComeBacks } from '../../db/audit/timeline.ts'
import { listUsers } from '../../db/users.ts'
import { startLedger, tamper, type TestLedger } from '../support/ledger.ts'
import { longTest } from '../support/long.ts'
import { median } from '../support/median.ts'

/** `CONSOLE_FAMILIES=1000000` makes as many, with ten times the events. */
const many = Number(process.env.CONSOLE_FAMILIES ?? 200_000)
const few = 10_000
const eventsEach = 10
const days = 90
const rounds = 40

/**
 * Milliseconds beyond the ratio; 1 for a busy machine. A chart that reaches to now also reads the end of each month's
 * table, up to 128 pages that its index of time does not summarise yet, whatever the number of sessions.
 */
const mayTakeMore: Record<string, number> = { 'the chart of the last day': 10 }

/** What the screens ask, in a small ledger and in a large one over the same 90 days. */
longTest(
  'a large ledger answers the screens within 1.5 times what a small one takes',
  { timeout: 3_600_000 },
  async () => {
    await using small = await startLedger()
    await using large = await startLedger()
    await fill(small, few)
    await fill(large, many)
    const [before, after] = [await questionsOf(small), await questionsOf(large)]
    const table: Record<string, { few: number; many: number; ratio: number; more: number }> = {}
    for (const [name, ask] of Object.entries(before)) {
      const [fewMs, manyMs] = await mediansOf(ask, after[name]!)
      table[name] = {
        few: round(fewMs),
        many: round(manyMs),
        ratio: round(manyMs / fewMs),
        more: round(manyMs - fewMs),
      }
    }
    console.table(table)
    const slow = Object.entries(table).filter(([, times]) => times.ratio > 1.5)
    expect(slow.filter(([name, { more }]) => more > (mayTakeMore[name] ?? 1))).toEqual([])
  },
)

/** Families of five a user, evenly over the last 90 days, each refreshed hourly. Events are written in order of time. */
async function fill(ledger: TestLedger, families: number): Promise<void> {
  const { ownerSql } = ledger.owner
  await ownerSql`
    insert into token_ledger.user_account (user_id, email, password_hash, role)
    select overlay(md5(n::text) placing '4' from 13)::uuid, 'user-' || n || '@example.com', 'x', 'user'
    from generate_series(0, ${Math.ceil(families / 5)}::int) n`
  await ownerSql`
    select token_ledger.make_month(date_trunc('month', now()) - ago * interval '1 month')
    from generate_series(0, 4) ago`
  await ownerSql.unsafe(`
    create table public.made as
    select
      (left(token_ledger.first_family_id(at)::text, 14) || '7' || right(md5(n::text)::uuid::text, 21))::uuid as id,
      overlay(md5((n % ${Math.ceil(families / 5)})::text) placing '4' from 13)::uuid as user_id, n, at
    from generate_series(0, ${families - 1}) n,
      lateral (select date_trunc('milliseconds', now() - interval '${days} days' + n * interval '${days} days' / ${families}) as at) t`)
  const zeros = `decode(repeat('00', 32), 'hex')`
  await tamper(
    ledger.owner,
    `insert into token_ledger.token_family (family_id, user_id, transport, created_at, absolute_expires_at)
     select id, user_id, 'body', at, at + interval '30 days' from public.made;
     insert into token_ledger.token_event
       (family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id, transport, token_hash,
        salt, ip, user_agent, origin_salt, origin_hash, prev_hash, hash)
     select id, g + 1, case g when 0 then 'issued' else 'rotated' end, g, at + g * interval '1 hour',
       at + g * interval '1 hour' + interval '7 days', at + interval '30 days',
       case g when 0 then user_id end, case g when 0 then 'body' end, ${zeros},
       case when g > 0 then substr(${zeros}, 1, 16) end,
       ('10.' || n / 65536 % 256 || '.' || n / 256 % 256 || '.' || n % 256)::inet, 'shop/2.1',
       substr(${zeros}, 1, 16), ${zeros}, case when g > 0 then ${zeros} end, ${zeros}
     from public.made cross join generate_series(0, ${eventsEach - 1}) g
     order by at + g * interval '1 hour'`,
  )
  await ownerSql`
    insert into token_ledger.open_family (family_id, user_id, absolute_expires_at)
    select id, user_id, at + interval '30 days' from public.made where at > now() - interval '30 days'`
  await ownerSql`vacuum analyze`
  while ((await countHours(ledger.database.questions)) > 0);
}

async function questionsOf({
  owner,
  database,
}: TestLedger): Promise<Record<string, () => Promise<unknown>>> {
  const { questions } = database
  const [row] = await owner.ownerSql<{ id: string; user: string }[]>`
    select id, user_id as user from public.made order by id desc offset 500 limit 1`
  const { id, user } = row!
  const limit = 50
  const dayMs = 24 * 3_600_000
  const today = Math.floor(Date.now() / 3_600_000) * 3_600_000
  return {
    'first page of sessions': () => searchSessions(questions, {}, { limit }),
    'first page of active sessions': () => listSessions(questions, { status: 'active' }, { limit }),
    'sessions of an address': () =>
      searchSessions(questions, { email: 'user-77@example.com' }, { limit }),
    'sessions by a prefix': () => searchSessions(questions, { emailPrefix: 'user-77@' }, { limit }),
    'users by a prefix': () => listUsers(questions, { emailPrefix: 'user-77@' }, { limit }),
    'sessions of a network': () => searchSessions(questions, { network: '10.0.0.0/8' }, { limit }),
    'one session': async () => {
      await readSession(questions, id)
      await listFamilyEvents(questions, id, 1_000)
      await listComeBacks(questions, id, 1_000)
      await verifyFamily(questions, id)
    },
    "a day's chart": () =>
      countEvents(questions, { fromAt: today - 2 * dayMs, toAt: today - dayMs }, 3_600_000),
    'the chart of 30 days': () =>
      countEvents(questions, { fromAt: today - 31 * dayMs, toAt: today - dayMs }, dayMs),
    'the chart of the last day': () =>
      countEvents(questions, { fromAt: today - dayMs, toAt: today + 3_600_000 }, 3_600_000),
    'active sessions': () => countActiveSessions(questions),
    'own events': () => listOwnEvents(questions, user, { limit }),
  }
}

/** In turns, so that a busy machine slows down both. */
async function mediansOf(
  first: () => Promise<unknown>,
  second: () => Promise<unknown>,
): Promise<[number, number]> {
  const times: [number[], number[]] = [[], []]
  for (let i = 0; i < rounds + 5; i++)
    for (const [at, ask] of [first, second].entries()) {
      const startedAt = performance.now()
      await ask()
      if (i >= 5) times[at]!.push(performance.now() - startedAt)
    }
  return [median(times[0]), median(times[1])]
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
