import type { AdminActionRow } from '../../db/audit/admin-actions.ts'
import type { ListedEvent } from '../../db/audit/events.ts'
import type { SessionRow } from '../../db/audit/session-row.ts'
import { methodsOf } from '../../db/methods.ts'
import { dateTime, printable, table } from './output.ts'

/** Longer runs of refreshes by one caller are shortened. */
const refreshesShown = 4

export type FamilyStory = {
  readonly session: SessionRow
  readonly isErased: boolean
  readonly events: readonly ListedEvent[]
  readonly actions: readonly AdminActionRow[]
}

/** The address; without one the id in a team's own directory. */
export function userText({ email, subject }: SessionRow, isErased: boolean): string {
  return isErased ? '(erased)' : (email ?? subject)
}

/** One session from sign-in to end, for support staff. Instants are UTC. */
export function timeline({ session, isErased, events, actions }: FamilyStory): readonly string[] {
  const lines = fold(events)
  const rows = lines.map(({ event, more }, i) => {
    const before = lines[i - 1]?.event
    const what =
      more > 0 ? `… ${more} more refreshes by the same caller` : describeEvent(event, actions)
    return [
      String(event.seq),
      dateTime(event.occurredAt),
      before === undefined ? '' : `+${duration(event.occurredAt - before.occurredAt)}`,
      what,
      more > 0 ? '' : callerText(event, before),
    ]
  })
  return [
    `session  ${session.familyId}`,
    `user     ${printable(userText(session, isErased))}  ${session.userId}`,
    `device   ${printable(session.deviceName ?? '(no name)')}, refresh token in the ${session.transport}`,
    `status   ${statusOf(session)}`,
    `proof    ${proofOf(session)}`,
    '',
    ...table(['', 'when (UTC)', 'after', 'what happened', 'from'], rows),
    '',
    conclusion(session, events),
  ]
}

function describeEvent(event: ListedEvent, actions: readonly AdminActionRow[]): string {
  switch (event.kind) {
    case 'issued':
      return `signed in${byMethods(event)}`
    case 'rotated':
      return `refreshed: token ${event.generation}`
    case 'reauthenticated':
      return `authenticated again${byMethods(event)}: token ${event.generation}`
    case 'replayed':
      return event.reason === 'same_attempt'
        ? `retried after a lost answer: token ${event.generation} again`
        : `token ${event.presentedGeneration} presented again within the grace window: token ${event.generation} again`
    case 'reuse_detected':
      return `REUSE: spent token ${event.presentedGeneration} presented again, ${event.generation - (event.presentedGeneration ?? 0)} behind`
    case 'revoked':
      return `ended: ${describeRevocation(event, actions)}`
  }
}

function byMethods({ methods }: ListedEvent): string {
  return methods === null ? '' : ` by ${methods.join(', ')}`
}

function describeRevocation(event: ListedEvent, actions: readonly AdminActionRow[]): string {
  switch (event.reason) {
    case 'logout':
      return 'signed out'
    case 'logout_everywhere':
      return 'signed out everywhere'
    case 'user_revoked':
      return 'by the user, from another session'
    case 'admin_revoked': {
      const act = actions.find(({ action }) =>
        /^(?:sessions?_revoked|ledger_restored)$/.test(action),
      )
      const actor = act?.actorEmail ?? event.actorUserId ?? 'the command line'
      const why = act?.reason ? `: ${printable(act.reason, 200)}` : ''
      return `by an admin (${printable(actor)})${why}`
    }
    case 'password_changed':
      return 'the password was changed'
    case 'user_disabled':
      return 'the account was disabled'
    case 'reuse_elsewhere':
      return 'reuse was detected in another session of the user'
    case 'session_limit':
      return 'the user had too many sessions and this was the oldest'
    default:
      return event.reason ?? 'no reason'
  }
}

/** A sentence that support staff can pass on. */
function conclusion(session: SessionRow, events: readonly ListedEvent[]): string {
  const last = events.at(-1)
  const expiresAt = dateTime(session.expiresAt)
  if (session.status === 'active')
    return `The session is active. Unless it is refreshed, it expires at ${expiresAt}.`
  if (session.status === 'expired')
    return session.expiresAt === session.absoluteExpiresAt
      ? `The session expired at ${expiresAt}: it had reached its absolute expiration.`
      : `The session expired at ${expiresAt}: it had not been refreshed in time.`
  if (session.status === 'revoked' || last === undefined)
    return `The session was revoked. Incident ${session.incidentId}.`
  const newest = events.findLast(
    ({ kind }) => kind === 'rotated' || kind === 'reauthenticated' || kind === 'issued',
  )
  const isSameCaller = isSame(last, newest)
  const hint =
    last.ip === null
      ? 'The callers were erased.'
      : isSameCaller
        ? 'The token came from the caller that got the newest one: a client bug is more likely than a theft.'
        : 'The token came from another caller than the one that got the newest: treat it as a theft.'
  return `A spent refresh token was used again, so the session was revoked. ${hint} Incident ${session.incidentId}.`
}

function proofOf({ methods, authenticatedAt }: SessionRow): string {
  if (methods === null || authenticatedAt === null) return '(not known)'
  return `${methodsOf(methods).join(', ')} at ${dateTime(authenticatedAt)}`
}

function statusOf({ status, endReason, endedAt }: SessionRow): string {
  const ended = endedAt === null ? '' : ` at ${dateTime(endedAt)}`
  return endReason === null || endReason === status
    ? `${status}${ended}`
    : `${status}${ended} (${endReason})`
}

/** A long run of refreshes by one caller becomes its first, its last, and a number. */
function fold(events: readonly ListedEvent[]): { event: ListedEvent; more: number }[] {
  const lines: { event: ListedEvent; more: number }[] = []
  let i = 0
  while (i < events.length) {
    const length = runLength(events, i)
    const run = events.slice(i, i + length)
    const [first] = run
    const last = run.at(-1)
    const hidden = run.at(-2)
    if (length > refreshesShown && first && last && hidden)
      lines.push(
        { event: first, more: 0 },
        { event: hidden, more: length - 2 },
        { event: last, more: 0 },
      )
    else lines.push(...run.map((event) => ({ event, more: 0 })))
    i += length
  }
  return lines
}

function runLength(events: readonly ListedEvent[], start: number): number {
  const [first, ...rest] = events.slice(start)
  if (first?.kind !== 'rotated') return 1
  const other = rest.findIndex((event) => event.kind !== 'rotated' || !isSame(first, event))
  return 1 + (other === -1 ? rest.length : other)
}

function isSame(one: ListedEvent, other: ListedEvent | undefined): boolean {
  return one.ip === other?.ip && one.userAgent === other.userAgent
}

function callerText(event: ListedEvent, before: ListedEvent | undefined): string {
  if (before !== undefined && isSame(event, before)) return 'same caller'
  const parts = [event.ip, event.userAgent === null ? null : printable(event.userAgent, 60)]
  return parts.filter((part) => part !== null).join('  ') || '(unknown)'
}

function duration(ms: number): string {
  if (ms < 1_000) return `${ms} ms`
  const seconds = Math.round(ms / 1_000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return `${hours} h ${minutes % 60} min`
  return `${Math.floor(hours / 24)} d ${hours % 24} h`
}
