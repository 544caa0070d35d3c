import { createHourCounter } from '../../db/audit/event-hours.ts'
import { listFamilyEvents } from '../../db/audit/events.ts'
import { listOwnEvents } from '../../db/audit/own-events.ts'
import { countActiveSessions } from '../../db/audit/session-counts.ts'
import { searchSessions } from '../../db/audit/session-search.ts'
import { listSessions, readSession, verifyFamily } from '../../db/audit/sessions.ts'
import { countEvents } from '../../db/audit/statistics.ts'
import { listComeBacks } from '../../db/audit/timeline.ts'
import { connect, type Database } from '../../db/connection/connect.ts'
import { listUsers } from '../../db/users.ts'
import { tamper } from '../support/ledger.ts'
import type { Bench, BenchDatabase, Row } from './bench.ts'
import { summarize } from './statistics.ts'

const few = 10_000
const eventsEach = 10
const days = 90
/** Of each question, for each round of the options. The first round of all is not counted. */
const timesARound = 15

/** What the screens ask, in a small ledger and in a large one over the same 90 days: 1 million sessions with `--large`. */
export async function benchConsoleScale(bench: Bench): Promise<void> {
  const small = await openLedger(bench, few)
  const large = await openLedger(bench, bench.options.large ? 1_000_000 : 100_000)
  for (const [name, ask] of Object.entries(small.questions)) {
    const rows = await timeInTurns(bench, [
      { name: `${name}, ${small.title}`, ask },
      { name: `${name}, ${large.title}`, ask: large.questions[name]! },
    ])
    bench.rows.push(...rows)
    bench.targets.push({
      name: `${name}, ${large.title} ÷ ${small.title}`,
      value: rows[1]!.p50Ms / rows[0]!.p50Ms,
      atMost: 1.5,
    })
  }
  await small.close()
  await large.close()
}

async function openLedger(bench: Bench, families: number) {
  const title = families >= 1e6 ? `${families / 1e6} M` : `${families / 1e3} k`
  bench.say(`seeding ${title} families`)
  const owner = await bench.database(`console_${families}`)
  await fill(owner, families)
  // On connections of its own: one that has counted millions of events may be slower afterwards.
  const counting = connect(owner.url)
  const countNext = createHourCounter(counting.questions)
  while (await countNext());
  await counting.close()
  const database = connect(owner.url)
  return {
    title,
    questions: await questionsOf(owner, database),
    close: () => database.close(),
  }
}

/** Families of five a user, evenly over the last 90 days, each refreshed hourly. Events are written in order of time. */
async function fill({ sql }: BenchDatabase, families: number): Promise<void> {
  await sql`
    insert into token_ledger.user_account (user_id, email, password_hash, role)
    select overlay(md5(n::text) placing '4' from 13)::uuid, 'user-' || n || '@example.com', 'x', 'user'
    from generate_series(0, ${Math.ceil(families / 5)}::int) n`
  await sql`
    select token_ledger.make_month(date_trunc('month', now()) - ago * interval '1 month')
    from generate_series(0, 4) ago`
  await sql.unsafe(`
    create table public.made as
    select
      (left(token_ledger.first_family_id(at)::text, 14) || '7' || right(md5(n::text)::uuid::text, 21))::uuid as id,
      overlay(md5((n % ${Math.ceil(families / 5)})::text) placing '4' from 13)::uuid as user_id, n, at
    from generate_series(0, ${families - 1}) n,
      lateral (select date_trunc('milliseconds', now() - interval '${days} days' + n * interval '${days} days' / ${families}) as at) t`)
  const zeros = `decode(repeat('00', 32), 'hex')`
  await tamper(
    { ownerSql: sql },
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
     where at + g * interval '1 hour' < now()
     order by at + g * interval '1 hour'`,
  )
  await sql`
    insert into token_ledger.open_family (family_id, user_id, absolute_expires_at)
    select id, user_id, at + interval '30 days' from public.made where at > now() - interval '30 days'`
  await sql`vacuum analyze`
}

async function questionsOf(
  { sql }: BenchDatabase,
  { questions }: Database,
): Promise<Record<string, () => Promise<unknown>>> {
  const [row] = await sql<{ id: string; user: string }[]>`
    select id, user_id as user from public.made where at < now() - interval '1 day' order by id desc limit 1`
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

/** In turns, so that a busy machine slows down all. */
async function timeInTurns(
  bench: Bench,
  asked: readonly { name: string; ask: () => Promise<unknown> }[],
): Promise<Row[]> {
  const latencies: number[][] = asked.map(() => [])
  for (let n = 0; n < (bench.options.rounds + 1) * timesARound; n += 1)
    for (const [i, { ask }] of asked.entries()) {
      const startedAt = performance.now()
      await ask()
      if (n >= timesARound) latencies[i]!.push(performance.now() - startedAt)
    }
  return asked.map(({ name }, i) => {
    const tookMs = latencies[i]!.reduce((sum, ms) => sum + ms, 0)
    const { count, seconds, p50Ms, p99Ms } = summarize(latencies[i]!, tookMs / 1000)
    bench.say(`  ${name}: ${p50Ms.toFixed(1)} ms`)
    const none = Number.NaN
    return {
      name,
      connections: 1,
      perSecond: count / seconds,
      p50Ms,
      p99Ms,
      nodeCpu: none,
      mainThreadCpu: none,
      postgresCpu: none,
      loadCpu: none,
    }
  })
}
