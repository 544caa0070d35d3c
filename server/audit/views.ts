import type { AuditSession } from '../../db/schema.ts'
import type { ListedEvent } from '../../db/audit/events.ts'
import { positionText } from './position.ts'

/** A session as an admin sees it. */
export function toSessionView(row: AuditSession) {
  return {
    familyId: row.familyId,
    userId: row.userId,
    email: row.email,
    status: row.status,
    transport: row.transport,
    deviceName: row.deviceName,
    createdAt: iso(row.createdAt),
    lastRotatedAt: row.lastRotatedAt === null ? null : iso(row.lastRotatedAt),
    rotations: row.rotations,
    expiresAt: iso(row.expiresAt),
    absoluteExpiresAt: iso(row.absoluteExpiresAt),
    endedAt: row.endedAt === null ? null : iso(row.endedAt),
    endReason: row.endReason,
    incidentId: row.incidentId,
    ip: row.ip,
    userAgent: row.userAgent,
  }
}

/** An event as an admin sees it; `position` is what `admin.ledger.tail` goes on after. */
export function toEventView({ position, occurredAt, expiresAt, ...event }: ListedEvent) {
  return {
    position: positionText(position),
    ...event,
    occurredAt: iso(occurredAt),
    expiresAt: expiresAt === null ? null : iso(expiresAt),
  }
}

export function iso(instant: string | Date | number): string {
  return new Date(instant).toISOString()
}
