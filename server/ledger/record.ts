/**
 * The ledger as an export writes it: one record a line, a family before its events. Bytes are hex, instants
 * ISO 8601 in UTC with milliseconds, absent columns null. Nothing else is needed to check it.
 */
export type LedgerRecord = ExportBegin | FamilyRecord | EventRecord | ExportEnd

export type ExportBegin = {
  readonly record: 'export'
  readonly version: 1
  /** Families that began from here on; null from the beginning. */
  readonly from: string | null
  /** Families that began before; null until now. */
  readonly to: string | null
}

export type FamilyRecord = {
  readonly record: 'family'
  readonly familyId: string
  readonly userId: string
  readonly transport: string
  /** Not covered by any hash: it is erasable. */
  readonly deviceName: string | null
  readonly createdAt: string
  readonly absoluteExpiresAt: string
}

export type EventRecord = {
  readonly record: 'event'
  readonly familyId: string
  readonly seq: number
  readonly kind: string
  readonly generation: number
  readonly occurredAt: string
  readonly expiresAt: string | null
  readonly absoluteExpiresAt: string | null
  readonly userId: string | null
  readonly transport: string | null
  readonly tokenHash: string | null
  readonly salt: string | null
  readonly attemptHash: string | null
  readonly presentedGeneration: number | null
  readonly reason: string | null
  readonly actorUserId: string | null
  readonly ip: string | null
  readonly userAgent: string | null
  readonly originSalt: string | null
  readonly originHash: string
  readonly prevHash: string | null
  readonly hash: string
  /** Where the event stands in the order of the live tail; a decimal number, not hashed. */
  readonly txid: string
}

/** The last line: without it, a file was cut. */
export type ExportEnd = {
  readonly record: 'end'
  readonly families: number
  readonly events: number
}
