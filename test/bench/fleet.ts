import { createHash, randomBytes, randomUUID } from 'node:crypto'
import type { Sql } from 'postgres'
import { createFamilyId } from '../../server/sessions/family-id.ts'
import { createPasswords } from '../../server/users/passwords.ts'
import {
  deriveRefreshTokenKeys,
  deriveSuccessor,
  hashSecret,
} from '../../server/tokens/refresh-token.ts'
import { benchPassword, type BenchSession } from './load.ts'

/** The secret of the benchmark's servers: 48 bytes, used nowhere else. */
export const benchSecret = 'n4Vt8Qz2Lk6Wm0Rx3Hc7Yp5Jd9Gs1BfAeUiOoTzKyXbCvNq'

export type Fleet = {
  readonly sessions: number
  /** The number of events in each session's history: its sign-in and its rotations. */
  readonly eventsEach: number
  readonly sessionsPerUser: number
}

const day = 24 * 3600 * 1000
const keys = deriveRefreshTokenKeys([benchSecret])

/**
 * Writes sessions with their histories directly into the ledger, as its owner, and returns the newest token of
 * each. The hashes are random bytes, because a million real ones would take longer than the benchmark.
 */
export async function seedFleet(sql: Sql, fleet: Fleet): Promise<BenchSession[]> {
  const seeds = makeSeeds(fleet)
  const passwordHash = await createPasswords().hash(benchPassword)
  const users = seeds.filter((_seed, i) => i % fleet.sessionsPerUser === 0)
  await sql`
    insert into token_ledger.user_account (user_id, email, password_hash, role)
    select user_id, email, ${passwordHash}, 'user'
    from unnest(${users.map((s) => s.userId)}::uuid[], ${users.map((s) => s.email)}::text[])
      as u(user_id, email)`

  const firstAt = new Date(Date.now() - fleet.eventsEach * 1000)
  await sql`create temporary table seed (family_id uuid, user_id uuid, token_hash bytea)`
  for (const some of chunks(seeds, 5_000))
    await sql`
      insert into seed
      select family_id, user_id, decode(token_hash, 'hex')
      from unnest(${some.map((s) => s.familyId)}::uuid[], ${some.map((s) => s.userId)}::uuid[],
        ${some.map((s) => s.tokenHash)}::text[]) as s(family_id, user_id, token_hash)`
  await sql`alter table token_ledger.token_family disable trigger expect_first_event`
  await sql`
    insert into token_ledger.token_family
      (family_id, user_id, transport, device_name, created_at, absolute_expires_at)
    select family_id, user_id, 'cookie', 'bench', ${firstAt}, ${new Date(+firstAt + 30 * day)}
    from seed`
  await sql`alter table token_ledger.token_family enable always trigger expect_first_event`
  await sql`alter table token_ledger.token_event disable trigger chain_event, disable trigger check_chained`
  // Generation by generation, so that the events of a family are spread over the table as in production.
  for (let seq = 1; seq <= fleet.eventsEach; seq++) await insertEvents(sql, seq, { fleet, firstAt })
  await sql`alter table token_ledger.token_event enable always trigger chain_event, enable always trigger check_chained`
  await sql`drop table seed`
  await sql`vacuum analyze`
  await sql`checkpoint`
  return seeds.map(({ familyId, userId, email, token }) => ({ familyId, userId, email, token }))
}

async function insertEvents(
  sql: Sql,
  seq: number,
  { fleet, firstAt }: { fleet: Fleet; firstAt: Date },
): Promise<void> {
  const isFirst = seq === 1
  const at = new Date(+firstAt + (seq - 1) * 1000)
  const absoluteAt = new Date(+firstAt + 30 * day)
  await sql`
    insert into token_ledger.token_event (
      family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id, transport,
      token_hash, salt, attempt_hash, ip, user_agent, origin_salt, origin_hash, prev_hash, hash,
      methods, authenticated_at)
    select
      family_id, ${seq}::integer, ${isFirst ? 'issued' : 'rotated'}, ${seq - 1}::integer, ${at},
      ${new Date(+at + 7 * day)}, ${absoluteAt},
      case when ${isFirst} then user_id end,
      case when ${isFirst} then 'cookie' end,
      case when ${seq === fleet.eventsEach} then token_hash else random_bytes end,
      case when not ${isFirst} then substr(random_bytes, 1, 16) end,
      case when not ${isFirst} then random_bytes end,
      '127.0.0.1',
      'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
      substr(random_bytes, 1, 16), random_bytes,
      case when not ${isFirst} then random_bytes end, random_bytes, '{pwd}', ${firstAt}
    from seed
    cross join lateral (select sha256(uuid_send(family_id) || int4send(${seq}::integer)) as random_bytes) r`
}

type Seed = BenchSession & { readonly tokenHash: string }

function makeSeeds({ sessions, eventsEach, sessionsPerUser }: Fleet): Seed[] {
  const now = Date.now()
  let userId = ''
  let email = ''
  return Array.from({ length: sessions }, (_, i) => {
    if (i % sessionsPerUser === 0) {
      userId = randomUUID()
      email = `user-${i}-${randomBytes(4).toString('hex')}@bench.example.com`
    }
    const familyId = createFamilyId(now)
    const secret = createHash('sha256').update(randomBytes(32)).digest()
    const before = { familyId, generation: eventsEach - 2, secret, value: '' }
    const token = deriveSuccessor(keys[0], before, randomBytes(16))
    const tokenHash = hashSecret(token).toString('hex')
    return { familyId, userId, email, token: token.value, tokenHash }
  })
}

function chunks<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  )
}
