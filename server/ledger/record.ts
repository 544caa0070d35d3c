/**
 * The lines of an export: one record a line, and each family before its events. Bytes are in hex, instants in
 * ISO 8601 (UTC, with milliseconds), and absent columns are null. An export can be checked without the database.
 */
export type LedgerRecord = ExportBegin | FamilyRecord | EventRecord | ExportEnd

export type ExportBegin = {
  readonly record: 'export'
  /** 1 in exports without `methods` and `authenticatedAt`, 2 in those without `subject`. */
  readonly version: 1 | 2 | 3
  /** Only families that started at this instant or later; null for no limit. */
  readonly from: string | null
  /** Only families that started before this instant; null for no limit. */
  readonly to: string | null
}

export type FamilyRecord = {
  readonly record: 'family'
  readonly familyId: string
  readonly userId: string
  readonly transport: string
  /** Not covered by a hash, because it can be erased. */
  readonly deviceName: string | null
  /**
   * What `userId` is derived from; null if it stands for itself, or the subject was erased. Missing in an export of
   * version 1 or 2, which is the same as null.
   */
  readonly subject?: string | null
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
  /** The event's place in the order of the live tail: a decimal number, not hashed. */
  readonly txid: string
  /** Missing in an export of version 1, which is the same as null. */
  readonly methods?: readonly string[] | null
  readonly authenticatedAt?: string | null
}

/** The last line. A file without it was truncated. */
export type ExportEnd = {
  readonly record: 'end'
  readonly families: number
  readonly events: number
}
