import { z } from 'zod'
import { subjectPattern, subjectRule } from '../../db/subjects.ts'
import { uuidPattern } from '../../db/uuid.ts'
import { positionOf, positionPattern } from '../audit/position.ts'

export const limit = z.number().int().min(1).max(200).default(50)

/** A UUID, in lower case as the database returns it. */
export const id = z.uuid().transform((given) => given.toLowerCase())

/** A user's id, as the user directory has it. */
export const subject = z.string().regex(subjectPattern, subjectRule)

/** The years 1 to 9999: JavaScript writes others in a form that Postgres cannot read. */
export const isReadable = (at: number) => at >= -62_135_596_800_000 && at < 253_402_300_800_000

/** ISO 8601 with its zone; becomes epoch milliseconds. */
export const instant = z.iso
  .datetime({ offset: true })
  .transform((given) => Date.parse(given))
  .refine(isReadable, 'The year must be from 1 to 9999')

/** Postgres stores neither NUL nor a lone surrogate. */
export const text = z.string().refine((given) => !/\0|\p{Surrogate}/u.test(given), 'Invalid text')

/** Why an admin acts, in their own words. */
export const reason = text.trim().min(1).max(500)

/** `<txid>:<familyId>:<seq>` */
export const position = z.string().regex(positionPattern).transform(positionOf)

/** The place of an event in a list by time: `<epoch ms>:<familyId>:<seq>`. */
export const eventCursor = z
  .string()
  .regex(new RegExp(`^\\d{1,15}:${uuidPattern}:\\d{1,9}$`))
  .transform((given) => {
    const [at = '', familyId = '', seq = ''] = given.split(':')
    return { at: Number(at), familyId, seq: Number(seq) }
  })
  .refine(({ at }) => isReadable(at), 'Invalid cursor')

/** One page, and the cursor of the next one; null when this was the last. */
export function pageOf<Row, Item>(
  rows: readonly Row[],
  pageSize: number,
  to: { item: (row: Row) => Item; cursor: (row: Row) => string },
): { items: Item[]; nextCursor: string | null } {
  const last = rows.length === pageSize ? rows.at(-1) : undefined
  return { items: rows.map(to.item), nextCursor: last === undefined ? null : to.cursor(last) }
}
