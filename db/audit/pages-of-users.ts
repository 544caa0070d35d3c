import type postgres from 'postgres'
import type { Statements } from '../connection/connect.ts'
import { highestId } from './export.ts'
import { columnsOf, sessionColumns, sessionOf, type SessionRow } from './session-row.ts'
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
  const ofUser = sql`
    select s.*
    from token_ledger.open_family open
    ${sql.unsafe(sessionOf('open.family_id'))}
    where open.user_id = asked.user_id and open.family_id < asked.before and s.status = 'active'
    order by open.family_id desc
    limit asked.most`
  return readPages(sql, asked, { columns: ownColumns, ofUser })
}

/** As `listSessions` of a user, for many users in one statement, in the order of the pages asked for. */
export async function listSessionsOfUsers(
  { statements: sql }: Pick<Statements, 'statements'>,
  asked: readonly PageOfUser[],
): Promise<readonly SessionRow[][]> {
  const ofUser = sql`
    select *
    from token_audit.sessions
    where user_id = asked.user_id and family_id < asked.before
    order by family_id desc
    limit asked.most`
  return readPages(sql, asked, { columns: sessionColumns, ofUser })
}

/** @param read.ofUser selects the sessions of one page, a row of the table `asked` */
async function readPages<Row extends OwnSession>(
  sql: postgres.Sql,
  asked: readonly PageOfUser[],
  read: { readonly columns: string; readonly ofUser: postgres.PendingQuery<postgres.Row[]> },
): Promise<readonly Row[][]> {
  const rows = await sql<(Row & { readonly page: number })[]>`
    select asked.page::integer, ${sql.unsafe(read.columns)}
    from unnest(
      ${asked.map(({ userId }) => userId)}::uuid[],
      ${asked.map(({ cursor = highestId }) => cursor)}::uuid[],
      ${asked.map(({ limit }) => limit)}::integer[]
    ) with ordinality as asked(user_id, before, most, page)
    cross join lateral (${read.ofUser}) s
    order by asked.page, s.family_id desc`
  const pages = asked.map((): Row[] => [])
  for (const row of rows) pages[row.page - 1]?.push(row)
  return pages
}
