import type { Transport } from '../../server/ledger/events.ts'
import type { EndReason, SessionStatus } from '../../server/ledger/family.ts'
import { epochMsText } from '../instant.ts'

/** A row of the view `token_audit.sessions`: a session as it is now. Instants are in epoch milliseconds. */
export type SessionRow = {
  readonly familyId: string
  readonly userId: string
  readonly subject: string
  readonly email: string | null
  readonly status: SessionStatus
  readonly transport: Transport
  readonly deviceName: string | null
  readonly createdAt: number
  readonly lastRotatedAt: number | null
  readonly rotations: number
  readonly expiresAt: number
  readonly absoluteExpiresAt: number
  readonly endedAt: number | null
  readonly endReason: EndReason | null
  readonly incidentId: string | null
  readonly ip: string | null
  readonly userAgent: string | null
  /** Joined: see `methodsOf`. */
  readonly methods: string | null
  readonly authenticatedAt: number | null
}

/** Of a row `s` of the view. */
const expressions: Record<keyof SessionRow, string> = {
  familyId: 's.family_id',
  userId: 's.user_id',
  subject: 's.subject',
  email: 's.email',
  status: 's.status',
  transport: 's.transport',
  deviceName: 's.device_name',
  createdAt: epochMsText('s.created_at'),
  lastRotatedAt: epochMsText('s.last_rotated_at'),
  rotations: 's.rotations',
  expiresAt: epochMsText('s.expires_at'),
  absoluteExpiresAt: epochMsText('s.absolute_expires_at'),
  endedAt: epochMsText('s.ended_at'),
  endReason: 's.end_reason',
  incidentId: 's.incident_id',
  ip: 's.ip',
  userAgent: 's.user_agent',
  methods: "array_to_string(s.methods, ' ')",
  authenticatedAt: epochMsText('s.authenticated_at'),
}

/** The select list of these properties, of a row `s` of the view. */
export const columnsOf = (names: readonly (keyof SessionRow)[]) =>
  names.map((name) => `${expressions[name]} as "${name}"`).join(', ')

/** The select list of a `SessionRow`, of a row `s` of the view. */
export const sessionColumns = columnsOf(Object.keys(expressions) as (keyof SessionRow)[])

/**
 * Joins the session of each family as `s`. `limit 1` keeps the planner from reading all sessions for a join.
 *
 * @param familyId SQL text of this source, never input: `open.family_id`
 */
export const sessionOf = (familyId: string) =>
  `cross join lateral (select * from token_audit.sessions where family_id = ${familyId} limit 1) s`
