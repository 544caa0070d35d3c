import { parseArgs } from 'node:util'
import { listFamilyActions } from '../../db/audit/admin-actions.ts'
import { listSessions, readSession } from '../../db/audit/sessions.ts'
import type { AuditSession } from '../../db/schema.ts'
import { listFamilyEvents } from '../../db/audit/events.ts'
import { sessionStatuses } from '../ledger/family.ts'
import { createAccounts } from '../users/accounts.ts'
import { jsonLine } from '../audit/json-line.ts'
import { createPasswords } from '../users/passwords.ts'
import { revokeSession, revokeUserSessions } from '../admin/sessions.ts'
import { toEventView, toSessionView } from '../audit/views.ts'
import { emailOf, familyIdOf, exactlyOne, reasonArgument } from './arguments.ts'
import { UsageError, type Command } from './command.ts'
import { withDatabase } from './database.ts'
import { pluralize, dateTime, printable, table } from './output.ts'
import { timeline } from './timeline.ts'

const app = { role: 'token_ledger_app' } as const
const pageSize = 200

/** Whoever sits at the keyboard has no address, and no account. */
const commandLine = {
  actorUserId: null,
  caller: { ip: null, userAgent: 'token-ledger command line' },
} as const

export const sessionsList: Command = {
  usage: '[--user E] [--status S] [--json]',
  summary: 'newest first; --json gives a line each',
  async run(args, config) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        user: { type: 'string' },
        status: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    })
    const status = sessionStatuses.find((one) => one === values.status)
    if (values.status !== undefined && status === undefined)
      throw new UsageError(`--status: one of ${sessionStatuses.join(', ')}`)
    const email = values.user === undefined ? undefined : emailOf(values.user)
    let count = 0
    await withDatabase(config, app, async (database) => {
      let cursor: string | undefined
      do {
        const page = await listSessions(database, { email, status }, { cursor, limit: pageSize })
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
  summary: 'what happened in one session, and why it ended',
  async run(args, config) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { json: { type: 'boolean', default: false } },
    })
    const familyId = familyIdOf(exactlyOne(positionals, 'family id'))
    return withDatabase(config, app, async (database) => {
      const session = await readSession(database, familyId)
      if (session === null) throw new Error(`there is no session ${familyId}`)
      const events = await listFamilyEvents(database.sql, familyId, 100_000)
      const actions = await listFamilyActions(database.sql, familyId)
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
  summary: 'ends one session; prints how many were ended',
  async run(args, config) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { reason: { type: 'string' } },
    })
    const familyId = familyIdOf(exactlyOne(positionals, 'family id'))
    const reason = reasonArgument(values.reason)
    const ended = await withDatabase(config, app, ({ sql }) =>
      revokeSession({ sql, logSecurityEvent: () => {} }, familyId, { ...commandLine, reason }),
    )
    if (ended === null) throw new Error(`there is no session ${familyId}`)
    if (!ended) console.error('it was over already')
    console.log(ended ? 1 : 0)
    return 0
  },
}

export const sessionsRevokeUser: Command = {
  usage: 'E --reason R',
  summary: 'ends all sessions of a user; prints how many',
  async run(args, config) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { reason: { type: 'string' } },
    })
    const email = emailOf(exactlyOne(positionals, 'e-mail address'))
    const reason = reasonArgument(values.reason)
    const ended = await withDatabase(config, app, async (database) => {
      const user = await createAccounts(database, createPasswords()).findByEmail(email)
      if (user === null) throw new Error(`there is no user ${email}`)
      const deps = { sql: database.sql, logSecurityEvent: () => {} }
      return revokeUserSessions(deps, user.id, { ...commandLine, reason })
    })
    console.log(ended)
    return 0
  },
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
    printable(row.email ?? '(erased)', 40),
    row.endReason === null || row.endReason === row.status
      ? row.status
      : `${row.status} (${row.endReason})`,
    dateTime(new Date(row.createdAt)),
    row.lastRotatedAt === null ? '' : dateTime(new Date(row.lastRotatedAt)),
    printable(row.deviceName ?? '', 30),
    [row.ip ?? '', printable(row.userAgent ?? '', 40)].join('  ').trim(),
  ]
}
