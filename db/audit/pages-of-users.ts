import type postgres from 'postgres'
import type { Statements } from '../connection/connect.ts'
import { highestId } from './export.ts'
import { columnsOf, sessionColumns, type SessionRow } from './session-row.ts'
import type { Page } from './sessions.ts'

/** A page of the sessions of one user. */
export type PageOfUser = Page & { readonly userId: string }

/** A session as its user sees it. */
export type OwnSession = Pick<SessionRow, (typeof ownProperties)[number]>

const ownProperties = [
  'familyId',
  'transport',
  'deviceName',
  'createdAt',
  'lastRotatedAt',
  'expiresAt',
  'ip',
  'userAgent',
  'methods',
  'authenticatedAt',
] as const

const ownColumns = columnsOf(ownProperties)

/** As `listActiveSessions`, for many users in one statement, in the order of the pages asked for. */
export async function listOwnSessions(
  { statements: sql }: Pick<Statements, 'statements'>,
  asked: readonly PageOfUser[],
): Promise<readonly OwnSession[][]> {
  // `limit 1` keeps the planner from reading all sessions for a join.
  const rows = await sql<OfPage<OwnSession>[]>`
    select asked.page::integer, ${sql.unsafe(ownColumns)}
    from ${pagesAsked(sql, asked)}
    cross join lateral (
      select session.*
      from token_ledger.open_family open
      cross join lateral (
        select * from token_audit.sessions where family_id = open.family_id limit 1
      ) session
      where open.user_id = asked.user_id and open.family_id < asked.before and session.status = 'active'
      order by open.family_id desc
      limit asked.most
    ) s
    order by asked.page, s.family_id desc`
  return inPages(asked, rows)
}

/** As `listSessions` of a user, for many users in one statement, in the order of the pages asked for. */
export async function listSessionsOfUsers(
  { statements: sql }: Pick<Statements, 'statements'>,
  asked: readonly PageOfUser[],
): Promise<readonly SessionRow[][]> {
  const rows = await sql<OfPage<SessionRow>[]>`
    select asked.page::integer, ${sql.unsafe(sessionColumns)}
    from ${pagesAsked(sql, asked)}
    cross join lateral (
      select *
      from token_audit.sessions
      where user_id = asked.user_id and family_id < asked.before
      order by family_id desc
      limit asked.most
    ) s
    order by asked.page, s.family_id desc`
  return inPages(asked, rows)
}

/** A row of the page of this number. The first is 1. */
type OfPage<Row> = Row & { readonly page: number }

/** A row of a table `asked` for each page. */
function pagesAsked(sql: postgres.Sql, asked: readonly PageOfUser[]) {
  return sql`
    unnest(
      ${asked.map(({ userId }) => userId)}::uuid[],
      ${asked.map(({ cursor = highestId }) => cursor)}::uuid[],
      ${asked.map(({ limit }) => limit)}::integer[]
    ) with ordinality as asked(user_id, before, most, page)`
}

function inPages<Row>(
  asked: readonly PageOfUser[],
  rows: readonly OfPage<Row>[],
): readonly Row[][] {
  const pages = asked.map((): Row[] => [])
  for (const row of rows) pages[row.page - 1]?.push(row)
  return pages
}
