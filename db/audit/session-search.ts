import type { SessionStatus } from '../../server/ledger/family.ts'
import type { Statements } from '../connection/connect.ts'
import { highestId } from './export.ts'
import { sessionColumns, sessionOf, type SessionRow } from './session-row.ts'
import type { Page, UserFilter } from './sessions.ts'

/** What a search looks at in each session; `undefined` takes any. */
export type SessionSearch = UserFilter & {
  /** The beginning of a canonical address. */
  readonly emailPrefix?: string | undefined
  readonly status?: SessionStatus | undefined
  /** In CIDR form: the last sign-in or rotation came from it. */
  readonly network?: string | undefined
  /** A part of the device name or of the user agent, in any case. */
  readonly device?: string | undefined
}

/** Families that one call looks at: some ten milliseconds. */
const familiesPerSearch = 2_000

/** Families that one statement looks at: a page is often full after the first. */
const familiesPerLook = 200

/** A prefix of more addresses than this is compared session by session. */
const usersPerSearch = 50

/**
 * Sessions that match, newest first. Looks at 2,000 families at most: a page may have fewer than `limit` sessions, or
 * none, and still have a cursor to search on from. A search by user or address alone fills its pages.
 */
export async function searchSessions(
  database: Statements,
  search: SessionSearch,
  page: Page,
): Promise<{ rows: SessionRow[]; nextCursor: string | null }> {
  const userIds = await usersOfSearch(database, search)
  const isCompared = [search.emailPrefix, search.status, search.network, search.device].some(
    (wanted) => wanted !== undefined,
  )
  const most = isCompared ? familiesPerSearch : page.limit
  const candidates = await listCandidates(database, userIds, { cursor: page.cursor, limit: most })
  const rows: SessionRow[] = []
  for (let at = 0; at < candidates.length && rows.length < page.limit; at += familiesPerLook) {
    const some = candidates.slice(at, at + familiesPerLook)
    const limit = page.limit - rows.length
    rows.push(...(await lookAt(database, some, { ...search, limit })))
  }
  const isFull = rows.length === page.limit
  const last = isFull ? rows.at(-1)?.familyId : candidates.at(-1)
  const mayHaveMore = isFull || candidates.length === most
  return { rows, nextCursor: mayHaveMore ? (last ?? null) : null }
}

/** @returns null for all users, and also where too many match */
async function usersOfSearch(
  { statements }: Statements,
  { userId, email, emailPrefix }: SessionSearch,
): Promise<string[] | null> {
  if (userId !== undefined) return [userId]
  if (email !== undefined) {
    const rows = await statements<{ userId: string }[]>`
      select user_id as "userId" from token_ledger.user_account where email = ${email}`
    return rows.map((row) => row.userId)
  }
  if (emailPrefix === undefined) return null
  const rows = await statements<{ userId: string }[]>`
    select user_id as "userId"
    from token_ledger.user_account
    where email collate "C" >= ${emailPrefix}
      -- Addresses are ASCII below this.
      and email collate "C" < ${emailPrefix} || chr(127)
    order by email collate "C"
    limit ${usersPerSearch + 1}`
  return rows.length > usersPerSearch ? null : rows.map((row) => row.userId)
}

/** Ids of the newest families below `cursor`, newest first. */
async function listCandidates(
  { statements }: Statements,
  userIds: string[] | null,
  { cursor = highestId, limit }: Page,
): Promise<string[]> {
  const rows =
    userIds === null
      ? await statements<{ familyId: string }[]>`
          select family_id as "familyId"
          from token_ledger.token_family
          where family_id < ${cursor}::uuid
          order by family_id desc
          limit ${limit}`
      : await statements<{ familyId: string }[]>`
          select f.family_id as "familyId"
          from unnest(${userIds}::uuid[]) as u(user_id)
          cross join lateral (
            select own.family_id
            from token_ledger.token_family own
            where own.user_id = u.user_id and own.family_id < ${cursor}::uuid
            order by own.family_id desc
            limit ${limit}
          ) f
          order by f.family_id desc
          limit ${limit}`
  return rows.map((row) => row.familyId)
}

async function lookAt(
  { statements: sql }: Statements,
  familyIds: readonly string[],
  { email, emailPrefix, status, network, device, limit }: SessionSearch & { limit: number },
): Promise<SessionRow[]> {
  const contains = (part: string) => sql`and (
    strpos(lower(s.device_name), lower(${part})) > 0 or strpos(lower(s.user_agent), lower(${part})) > 0)`
  return sql<SessionRow[]>`
    select ${sql.unsafe(sessionColumns)}
    from token_ledger.token_family f
    ${sql.unsafe(sessionOf('f.family_id'))}
    where f.family_id = any(${familyIds}::uuid[])
      ${email === undefined ? sql`` : sql`and s.email = ${email}`}
      ${emailPrefix === undefined ? sql`` : sql`and starts_with(s.email, ${emailPrefix})`}
      ${status === undefined ? sql`` : sql`and s.status = ${status}`}
      ${network === undefined ? sql`` : sql`and s.ip <<= ${network}::text::inet`}
      ${device === undefined ? sql`` : contains(device)}
    order by f.family_id desc
    limit ${limit}`
}
