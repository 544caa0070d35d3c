import type { AdminActionRow } from '../../db/audit/admin-actions.ts'
import type { ListedEvent } from '../../db/audit/events.ts'
import type { SessionRow } from '../../db/audit/session-row.ts'
import { methodsOf } from '../../db/methods.ts'
import { positionText } from './position.ts'

/** A session as an admin sees it. */
export function toSessionView(row: SessionRow) {
  return {
    familyId: row.familyId,
    userId: row.subject,
    email: row.email,
    status: row.status,
    transport: row.transport,
    deviceName: row.deviceName,
    createdAt: iso(row.createdAt),
    lastRotatedAt: iso(row.lastRotatedAt),
    rotations: row.rotations,
    expiresAt: iso(row.expiresAt),
    absoluteExpiresAt: iso(row.absoluteExpiresAt),
    endedAt: iso(row.endedAt),
    endReason: row.endReason,
    incidentId: row.incidentId,
    ip: row.ip,
    userAgent: row.userAgent,
    methods: methodsOf(row.methods),
    authenticatedAt: iso(row.authenticatedAt),
  }
}

/** An event as an admin sees it; `admin.ledger.tail` continues after its `position`. */
export function toEventView({ position, ...event }: ListedEvent) {
  return {
    position: positionText(position),
    ...event,
    occurredAt: iso(event.occurredAt),
    expiresAt: iso(event.expiresAt),
    authenticatedAt: iso(event.authenticatedAt),
  }
}

/** What an admin did to a session, as an admin sees it. */
export function toActionView(row: AdminActionRow) {
  return { ...row, occurredAt: iso(row.occurredAt) }
}

/** ISO 8601 in UTC, of epoch milliseconds. */
export function iso(atMs: number): string
export function iso(atMs: number | null): string | null
export function iso(atMs: number | null): string | null {
  return atMs === null ? null : new Date(atMs).toISOString()
}
