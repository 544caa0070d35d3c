import type { Position } from '../../db/audit/events.ts'
import { uuidPattern } from '../../db/uuid.ts'

/** `<txid>:<familyId>:<seq>` */
export const positionPattern = new RegExp(`^\\d{1,19}:${uuidPattern}:\\d{1,9}$`)

export function positionText({ txid, familyId, seq }: Position): string {
  return `${txid}:${familyId}:${seq}`
}

/** @param text that matches `positionPattern` */
export function positionOf(text: string): Position {
  const [txid = '', familyId = '', seq = ''] = text.split(':')
  return { txid, familyId, seq: Number(seq) }
}
