import type { Caller } from '../../db/ledger/event-rows.ts'
import type { SecurityEvent } from '../observability/security-log.ts'
import type { Granted } from './refresh-decision.ts'

/** The security events of a granted refresh: none for a rotation. */
export function replayEvents(
  { event, session, sighting }: Granted,
  { ip, userAgent }: Caller,
): SecurityEvent[] {
  if (event.kind !== 'replayed' || sighting === undefined) return []
  const of = { familyId: session.familyId, userId: session.userId }
  const { rotation, isElsewhere } = sighting
  const { reason } = event
  const replayed = {
    event: 'session_replayed',
    ...of,
    reason,
    ip,
    rotationIp: rotation.ip,
    isElsewhere,
  } as const
  if (!sighting.isSuspicious) return [replayed]
  const incidentId = `${session.familyId}:${event.seq}`
  const suspicion = {
    event: 'replays_elsewhere',
    ...of,
    incidentId,
    ip,
    userAgent,
    rotationIp: rotation.ip,
    rotationUserAgent: rotation.userAgent,
  } as const
  return [replayed, suspicion]
}
