import { z } from 'zod'
import type { Position } from '../../../db/audit-events.ts'

export const limit = z.number().int().min(1).max(200).default(50)

/** The one spelling the database gives back. */
export const id = z.uuid().transform((text) => text.toLowerCase())

/** ISO 8601 with its zone; epoch milliseconds from here on. */
export const instant = z.iso.datetime({ offset: true }).transform((text) => Date.parse(text))

/** What an admin says in their own words. */
export const reason = z.string().trim().min(1).max(500)

/** `<txid>:<familyId>:<seq>` */
export const position = z
  .string()
  .regex(/^\d{1,19}:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:\d{1,9}$/)
  .transform((text): Position => {
    const [txid = '', familyId = '', seq = ''] = text.split(':')
    return { txid, familyId, seq: Number(seq) }
  })

export function positionText({ txid, familyId, seq }: Position): string {
  return `${txid}:${familyId}:${seq}`
}

/** A page, and where the next one begins; null when this was the last. */
export function pageOf<Row, Item>(
  rows: readonly Row[],
  limitGiven: number,
  to: { item: (row: Row) => Item; cursor: (row: Row) => string },
): { items: Item[]; nextCursor: string | null } {
  const last = rows.length === limitGiven ? rows.at(-1) : undefined
  return { items: rows.map(to.item), nextCursor: last === undefined ? null : to.cursor(last) }
}
