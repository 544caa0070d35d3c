import type postgres from 'postgres'
import type { RotationPolicy } from '../ledger/decide.ts'
import type { Authentication, Transport } from '../ledger/events.ts'
import type { LogSecurityEvent } from '../observability/security-log.ts'
import type { RefreshToken, RefreshTokenKeys } from '../tokens/refresh-token.ts'
import type { OwnDirectory } from '../users/accounts.ts'
import type { User } from '../users/directory.ts'
import type { TeamDirectory } from '../users/team-directory.ts'

export type SessionPolicy = RotationPolicy & {
  readonly absoluteMs: number
  readonly reuseScope: 'family' | 'user'
  readonly maxSessionsPerUser: number
  /** The most rotations in one transaction. Use 1 with a sharded database. */
  readonly rotationBatchSize?: number
}

export type SessionDeps = {
  readonly sql: postgres.Sql
  readonly users: OwnDirectory | TeamDirectory
  readonly refreshKeys: RefreshTokenKeys
  readonly policy: SessionPolicy
  readonly logSecurityEvent: LogSecurityEvent
}

/** A session with the next refresh token for its client. */
export type LiveSession = {
  readonly familyId: string
  /** The ledger's id of the user, whose own is `user.id`. */
  readonly userId: string
  readonly user: User
  readonly transport: Transport
  readonly token: RefreshToken
  readonly signedInAt: number
  /** The newest one; null in a session that began before the ledger kept it. */
  readonly authentication: Authentication | null
  /** Of a reauthentication: whether its own attempt made the token. */
  readonly isReauthenticated?: boolean
  readonly refreshExpiresAt: number
  /** By the database's clock, so that a wrong clock of the process does not shorten the cookie. */
  readonly refreshRemainingMs: number
}
