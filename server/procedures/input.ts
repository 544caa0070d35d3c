import { z } from 'zod'
import type { Position } from '../../../db/audit/events.ts'

export const limit = z.number().int().min(1).max(200).default(50)

/** The one spelling the database gives back. */
export const id = z.uuid().transform((given) => given.toLowerCase())

/** From the year 1 to 9999: others are written in ways that Postgres does not read. */
export const isReadable = (at: number) => at >= -62_135_596_800_000 && at < 253_402_300_800_000

/** ISO 8601 with its zone; epoch milliseconds from here on. */
export const instant = z.iso
  .datetime({ offset: true })
  .transform((given) => Date.parse(given))
  .refine(isReadable, 'The year must be from 1 to 9999')

/** Postgres keeps no NUL, and no half of a character. */
export const text = z.string().refine((given) => !/\0|\p{Surrogate}/u.test(given), 'Invalid text')

/** What an admin says in their own words. */
export const reason = text.trim().min(1).max(500)

/** `<txid>:<familyId>:<seq>` */
export const position = z
  .string()
  .regex(/^\d{1,19}:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:\d{1,9}$/)
  .transform((given): Position => {
    const [txid = '', familyId = '', seq = ''] = given.split(':')
    return { txid, familyId, seq: Number(seq) }
  })

/** A page, and where the next one begins; null when this was the last. */
export function pageOf<Row, Item>(
  rows: readonly Row[],
  limitGiven: number,
  to: { item: (row: Row) => Item; cursor: (row: Row) => string },
): { items: Item[]; nextCursor: string | null } {
  const last = rows.length === limitGiven ? rows.at(-1) : undefined
  return { items: rows.map(to.item), nextCursor: last === undefined ? null : to.cursor(last) }
}
