import { parseArgs } from 'node:util'
import { listFamilyActions } from '../../db/audit/admin-actions.ts'
import { listSessions, readSession, type UserFilter } from '../../db/audit/sessions.ts'
import type { AuditSession } from '../../db/schema.ts'
import { ledgerIdOf } from '../../db/subjects.ts'
import { listFamilyEvents } from '../../db/audit/events.ts'
import { sessionStatuses } from '../ledger/family.ts'
import { jsonLine } from '../audit/json-line.ts'
import { revokeSession, revokeUserSessions } from '../admin/sessions.ts'
import { toEventView, toSessionView } from '../audit/views.ts'
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
    const filter = { status, ...userFilter(values.user, values['user-id']) }
    let count = 0
    await withDatabase(readConfig(), asService, async (database) => {
      let cursor: string | undefined
      do {
        const page = await listSessions(database, filter, { cursor, limit: pageSize })
        cursor = page.length === pageSize ? page.at(-1)?.familyId : undefined
        show(page, { asJson: values.json, isFirst: count === 0 })
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
            adminActions: actions,
          }),
        )
      else for (const line of timeline({ session, events, actions })) console.log(line)
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

function userFilter(email: string | undefined, subject: string | undefined): UserFilter {
  if (email !== undefined && subject !== undefined)
    throw new UsageError('expected --user or --user-id, not both')
  return {
    ...(email !== undefined && { email: emailOf(email) }),
    ...(subject !== undefined && { userId: ledgerIdOf(subjectArgument(subject)) }),
  }
}

function show(
  page: readonly AuditSession[],
  { asJson, isFirst }: { asJson: boolean; isFirst: boolean },
): void {
  if (asJson) {
    for (const row of page) console.log(jsonLine(toSessionView(row)))
    return
  }
  const titles = ['session', 'user', 'status', 'began (UTC)', 'last refresh', 'device', 'from']
  const lines = table(titles, page.map(toTableRow))
  for (const line of isFirst ? lines : lines.slice(1)) console.log(line)
}

function toTableRow(row: AuditSession): string[] {
  return [
    row.familyId,
    printable(userText(row), 40),
    row.endReason === null || row.endReason === row.status
      ? row.status
      : `${row.status} (${row.endReason})`,
    dateTime(new Date(row.createdAt)),
    row.lastRotatedAt === null ? '' : dateTime(new Date(row.lastRotatedAt)),
    printable(row.deviceName ?? '', 30),
    [row.ip ?? '', printable(row.userAgent ?? '', 40)].join('  ').trim(),
  ]
}
