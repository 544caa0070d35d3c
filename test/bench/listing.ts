import { ratio, type Bench, type BenchDatabase, type Line, type Row } from './bench.ts'
import { summarize } from './statistics.ts'

const sizes = [10_000, 1_000_000]
const sessionsPerUser = 5
const eventsEach = 2

/** The sessions of one user, listed among few and among many sessions, through the admin API and in SQL. */
export async function benchListing(bench: Bench): Promise<void> {
  const lines: Line[] = []
  for (const families of sizes) lines.push(...(await linesFor(bench, families)))
  const [fewListed, fewAsked, manyListed, manyAsked] = await bench.rounds(lines)
  const add = (what: string, many: readonly Row[], few: readonly Row[]) =>
    bench.targets.push({
      name: `${what}, one user of 1 M ÷ of 10 k families`,
      value: ratio([many, few], 'perSecond'),
      atLeast: 0.9,
    })
  add('admin.sessions.list', manyListed!, fewListed!)
  add('token_audit.sessions', manyAsked!, fewAsked!)
}

async function linesFor(bench: Bench, families: number): Promise<Line[]> {
  const name = `${families >= 1e6 ? `${families / 1e6} M` : `${families / 1e3} k`} families`
  const database = await bench.database(`listing_${families}`)
  const known = { sessions: 5_000, eventsEach, sessionsPerUser }
  await seedCrowd(bench, database, families - known.sessions)
  const sessions = await bench.fleet(database, known)
  // Each user lists its own sessions, as an admin.
  await database.sql`update token_ledger.user_account set role = 'admin' where email like 'user-%'`
  const { url, child } = await bench.server('full', database)
  await bench.load.enlist(name, sessions)
  const run = (kind: 'rotate' | 'admin-list', title: string): Line => ({
    run: () => bench.measure({ fleet: name, kind, url, connections: 16 }, { name: title, child }),
  })
  // Every session gets an access token.
  await run('rotate', 'rotation').run()
  await bench.load.run({
    fleet: name,
    kind: 'rotate',
    url,
    connections: 16,
    seconds: 120,
    count: sessions.length + 32,
  })
  const userIds = [...new Set(sessions.map(({ userId }) => userId))]
  return [
    run('admin-list', `admin.sessions.list, ${name}`),
    { run: () => askInSql(bench, database, { name: `token_audit.sessions, ${name}`, userIds }) },
  ]
}

/** Other users, whose families began in the three weeks around the listed ones. */
async function seedCrowd(bench: Bench, { sql }: BenchDatabase, families: number): Promise<void> {
  bench.say(`seeding ${families} families`)
  await sql`
    insert into token_ledger.user_account (user_id, email, password_hash, role)
    select overlay(md5(n::text) placing '4' from 13)::uuid, 'crowd-' || n || '@bench.example.com', 'x', 'user'
    from generate_series(0, ${Math.ceil(families / sessionsPerUser)}::int) n`
  await sql`
    create temporary table crowd as
    select
      (left(token_ledger.first_family_id(at)::text, 14) || '7' || right(md5(n::text), 3) || '-8' ||
        substr(md5(n::text), 5, 3) || '-' || right(md5('f' || n), 12))::uuid as family_id,
      overlay(md5((n % ${Math.ceil(families / sessionsPerUser)}::int)::text) placing '4' from 13)::uuid as user_id,
      at
    from generate_series(0, ${families - 1}::int) n,
      lateral (
        select date_trunc('milliseconds', now() - interval '14 days' + n * interval '21 days' / ${families}::int) as at
      ) t`
  await sql`alter table token_ledger.token_family disable trigger expect_first_event`
  await sql`
    insert into token_ledger.token_family (family_id, user_id, transport, created_at, absolute_expires_at)
    select family_id, user_id, 'body', at, at + interval '30 days' from crowd`
  await sql`alter table token_ledger.token_family enable always trigger expect_first_event`
  await sql`alter table token_ledger.token_event disable trigger chain_event, disable trigger check_chained`
  for (const seq of [1, 2])
    await sql`
      insert into token_ledger.token_event (
        family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id, transport,
        token_hash, salt, prev_hash, hash, origin_salt, origin_hash)
      select
        family_id, ${seq}::int, ${seq === 1 ? 'issued' : 'rotated'}, ${seq}::int - 1, at,
        at + interval '7 days', at + interval '30 days', case when ${seq === 1} then user_id end,
        case when ${seq === 1} then 'body' end, bytes,
        case when ${seq === 2} then substr(bytes, 1, 16) end, case when ${seq === 2} then bytes end, bytes,
        substr(bytes, 1, 16), bytes
      from crowd, lateral (select sha256(uuid_send(family_id)) as bytes) b`
  await sql`alter table token_ledger.token_event enable always trigger chain_event, enable always trigger check_chained`
  await sql`drop table crowd`
}

/** Lists one page after another on one connection. */
async function askInSql(
  bench: Bench,
  { sql }: BenchDatabase,
  { name, userIds }: { name: string; userIds: readonly string[] },
): Promise<Row> {
  const startedAt = performance.now()
  const endsAt = startedAt + bench.options.seconds * 1000
  const times: number[] = []
  while (performance.now() < endsAt) {
    const userId = userIds[times.length % userIds.length]!
    const before = performance.now()
    const rows = await sql`
      select *
      from token_audit.sessions
      where user_id = ${userId}::uuid
      order by family_id desc
      limit 50`
    times.push(performance.now() - before)
    if (rows.length !== sessionsPerUser) throw new Error(`${rows.length} sessions of one user`)
  }
  const { count, seconds, p50Ms, p99Ms } = summarize(times, (performance.now() - startedAt) / 1000)
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
}
