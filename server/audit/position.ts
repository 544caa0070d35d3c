import type { Position } from '../../db/audit/events.ts'

export function positionText({ txid, familyId, seq }: Position): string {
  return `${txid}:${familyId}:${seq}`
}
