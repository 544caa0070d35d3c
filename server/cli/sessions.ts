import { parseArgs } from 'node:util'
import { listFamilyActions } from '../../db/audit/admin-actions.ts'
import type { SessionRow } from '../../db/audit/session-row.ts'
import { listSessions, readSession } from '../../db/audit/sessions.ts'
import type { Database } from '../../db/connection/connect.ts'
import { filteredIdOf, isDerived } from '../../db/subjects.ts'
import { findUsers } from '../../db/users.ts'
import { listFamilyEvents } from '../../db/audit/events.ts'
import { sessionStatuses } from '../ledger/family.ts'
import { jsonLine } from '../audit/json-line.ts'
import { revokeSession, revokeUserSessions } from '../admin/sessions.ts'
import { toActionView, toEventView, toSessionView } from '../audit/views.ts'
import { actDeps, commandLine, subjectOf } from './acts.ts'
import {
  emailOf,
  exactlyOne,
  familyIdArgument,
  personArgument,
  reasonArgument,
  subjectArgument,
} from './arguments.ts'
import { UsageError, type Command } from './command.ts'
import { asService, withDatabase } from './database.ts'
import { dateTime, pluralize, printable, table } from './output.ts'
import { timeline, userText } from './timeline.ts'

const pageSize = 200

export const sessionsList: Command = {
  usage: '[--user E|--user-id ID] [--status S] [--json]',
  summary: 'lists sessions, newest first; --json prints one JSON object per line',
  async run(args, readConfig) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        user: { type: 'string' },
        'user-id': { type: 'string' },
        status: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    })
    const status = sessionStatuses.find((one) => one === values.status)
    if (values.status !== undefined && status === undefined)
      throw new UsageError(`--status: must be one of ${sessionStatuses.join(', ')}`)
    const { email, subject } = personFilter(values.user, values['user-id'])
    let count = 0
    await withDatabase(readConfig(), asService, async (database) => {
      const filter = { status, email, userId: await filteredIdOf(database, subject) }
      let cursor: string | undefined
      do {
        const page = await listSessions(database, filter, { cursor, limit: pageSize })
        cursor = page.length === pageSize ? page.at(-1)?.familyId : undefined
        if (values.json) for (const row of page) console.log(jsonLine(toSessionView(row)))
        else show(page, { erased: await erasedAmong(database, page), isFirst: count === 0 })
        count += page.length
      } while (cursor !== undefined)
    })
    console.error(pluralize(count, 'session'))
    return 0
  },
}

export const sessionsInspect: Command = {
  usage: 'FAMILY_ID [--json]',
  summary: 'shows what happened in one session and why it ended',
  async run(args, readConfig) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { json: { type: 'boolean', default: false } },
    })
    const familyId = familyIdArgument(exactlyOne(positionals, 'family id'))
    return withDatabase(readConfig(), asService, async (database) => {
      const session = await readSession(database, familyId)
      if (session === null) throw new Error(`session not found: ${familyId}`)
      const events = await listFamilyEvents(database, familyId, 100_000)
      const actions = await listFamilyActions(database, familyId)
      if (values.json)
        console.log(
          jsonLine({
            ...toSessionView(session),
            events: events.map(toEventView),
            adminActions: actions.map(toActionView),
          }),
        )
      else {
        const isErased = (await erasedAmong(database, [session])).has(session.userId)
        for (const line of timeline({ session, isErased, events, actions })) console.log(line)
      }
      return 0
    })
  },
}

export const sessionsRevoke: Command = {
  usage: 'FAMILY_ID --reason R',
  summary: 'ends one session; prints 1, or 0 if it was over already',
  async run(args, readConfig) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { reason: { type: 'string' } },
    })
    const familyId = familyIdArgument(exactlyOne(positionals, 'family id'))
    const reason = reasonArgument(values.reason)
    const wasActive = await withDatabase(readConfig(), asService, (database) =>
      revokeSession(actDeps(database), familyId, { ...commandLine, reason }),
    )
    if (wasActive === null) throw new Error(`session not found: ${familyId}`)
    if (!wasActive) console.error('the session was over already')
    console.log(wasActive ? 1 : 0)
    return 0
  },
}

export const sessionsRevokeUser: Command = {
  usage: 'E|--user-id ID --reason R',
  summary: 'ends all sessions of a user; prints how many were active',
  async run(args, readConfig) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { reason: { type: 'string' }, 'user-id': { type: 'string' } },
    })
    const person = personArgument(positionals, values['user-id'])
    const reason = reasonArgument(values.reason)
    const revoked = await withDatabase(readConfig(), asService, async (database) => {
      const deps = actDeps(database)
      return revokeUserSessions(deps, await subjectOf(deps, person), { ...commandLine, reason })
    })
    console.log(revoked)
    return 0
  },
}

function personFilter(email: string | undefined, subject: string | undefined) {
  if (email !== undefined && subject !== undefined)
    throw new UsageError('expected --user or --user-id, not both')
  return {
    email: email === undefined ? undefined : emailOf(email),
    subject: subject === undefined ? undefined : subjectArgument(subject),
  }
}

/** The users who were erased: a derived id has lost its subject, or an account its address. */
async function erasedAmong(
  database: Database,
  sessions: readonly SessionRow[],
): Promise<ReadonlySet<string>> {
  const ids = sessions
    .filter(({ email, subject, userId }) => email === null && subject === userId)
    .map(({ userId }) => userId)
  const accounts = await findUsers(database, ids)
  return new Set([...ids.filter(isDerived), ...accounts.map(({ userId }) => userId)])
}

function show(
  page: readonly SessionRow[],
  { erased, isFirst }: { erased: ReadonlySet<string>; isFirst: boolean },
): void {
  const titles = ['session', 'user', 'status', 'began (UTC)', 'last refresh', 'device', 'from']
  const lines = table(
    titles,
    page.map((row) => toTableRow(row, erased.has(row.userId))),
  )
  for (const line of isFirst ? lines : lines.slice(1)) console.log(line)
}

function toTableRow(row: SessionRow, isErased: boolean): string[] {
  return [
    row.familyId,
    printable(userText(row, isErased), 40),
    row.endReason === null || row.endReason === row.status
      ? row.status
      : `${row.status} (${row.endReason})`,
    dateTime(row.createdAt),
    row.lastRotatedAt === null ? '' : dateTime(row.lastRotatedAt),
    printable(row.deviceName ?? '', 30),
    [row.ip ?? '', printable(row.userAgent ?? '', 40)].join('  ').trim(),
  ]
}
