import type { ListedEvent } from '../../db/audit/events.ts'
import type { AuditSession } from '../../db/schema.ts'
import { positionText } from './position.ts'

/** A session as an admin sees it. */
export function toSessionView(row: AuditSession) {
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
    methods: row.methods,
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

type Instant = string | Date | number

/** ISO 8601 in UTC. */
export function iso(instant: Instant): string
export function iso(instant: Instant | null): string | null
export function iso(instant: Instant | null): string | null {
  return instant === null ? null : new Date(instant).toISOString()
}
