import { z } from 'zod'
import { checkFamily } from '../ledger/chain.ts'
import { eventKinds, maxMethods, methodPattern } from '../ledger/events.ts'
import type { EventRecord, FamilyRecord, LedgerRecord } from '../ledger/record.ts'
import { isSubject, ledgerIdOf, subjectRule } from '../../db/subjects.ts'
import { uuid } from '../../db/uuid.ts'

/** What is wrong with an export, and where. */
export type ExportProblem = {
  readonly familyId: string | null
  readonly seq: number | null
  readonly problem: string
}

export type ExportReport = {
  readonly families: number
  readonly events: number
  readonly problems: readonly ExportProblem[]
}

/** Further problems are left out of the report. */
const maxProblems = 1_000

/**
 * Checks an export line by line from its text alone: hashes, histories, order, and whether it is complete.
 *
 * @param onLine called after each line with the progress
 */
export async function verifyExport(
  lines: AsyncIterable<string> | Iterable<string>,
  onLine: (progress: { families: number; events: number }) => void = () => {},
): Promise<ExportReport> {
  const check = new ExportCheck()
  for await (const line of lines) {
    check.take(line)
    onLine(check.found)
  }
  check.end()
  return { ...check.found, problems: check.problems }
}

type OpenFamily = { id: string; family: FamilyRecord | null; events: EventRecord[] }

/** Takes the lines of an export in order. It holds the events of one family at a time. */
class ExportCheck {
  readonly problems: ExportProblem[] = []
  readonly found = { families: 0, events: 0 }
  #line = 0
  #open: OpenFamily | null = null
  #hasEnded = false

  take(line: string): void {
    this.#line += 1
    const record = parseRecord(line)
    if (typeof record === 'string') {
      this.#complain(`line ${this.#line}: ${record}`, this.#open?.id)
      return
    }
    if (this.#hasEnded) this.#complain(`line ${this.#line}: a line follows the end record`)
    if ((record.record === 'export') !== (this.#line === 1))
      this.#complain(`line ${this.#line}: the export record must be the first line, and no other`)
    switch (record.record) {
      case 'export':
        return
      case 'family':
        this.found.families += 1
        this.#begin(record.familyId, record)
        if (record.subject && ledgerIdOf(record.subject) !== record.userId)
          this.#complain('the user id is not derived from the subject', record.familyId)
        return
      case 'event':
        this.found.events += 1
        if (this.#open?.id !== record.familyId) this.#begin(record.familyId, null)
        this.#open?.events.push(record)
        return
      case 'end':
        this.#hasEnded = true
        if (record.families !== this.found.families || record.events !== this.found.events)
          this.#complain(
            `the end record says ${record.families} families and ${record.events} events, the file has ` +
              `${this.found.families} and ${this.found.events}`,
          )
    }
  }

  end(): void {
    this.#close()
    if (!this.#hasEnded) this.#complain('the end record is missing: the file was cut off')
  }

  #begin(id: string, family: FamilyRecord | null): void {
    this.#close()
    if (this.#open !== null && id <= this.#open.id)
      this.#complain(`line ${this.#line}: the families are not in the order of their ids`, id)
    this.#open = { id, family, events: [] }
  }

  #close(): void {
    if (this.#open === null) return
    const { id, family, events } = this.#open
    const problem = checkFamily(family, events)
    if (problem) this.#complain(problem.problem, id, problem.seq)
  }

  #complain(problem: string, familyId: string | null = null, seq: number | null = null): void {
    if (this.problems.length < maxProblems) this.problems.push({ familyId, seq, problem })
  }
}

const bytes = (length: number) => z.string().regex(new RegExp(`^[0-9a-f]{${2 * length}}$`))
const id = z.string().regex(uuid)
const instant = z.string().regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/)
const integer = z
  .number()
  .int()
  .min(-(2 ** 31))
  .max(2 ** 31 - 1)

const recordSchema = z.discriminatedUnion('record', [
  z.strictObject({
    record: z.literal('export'),
    version: z.literal([1, 2, 3]),
    from: instant.nullable(),
    to: instant.nullable(),
  }),
  z.strictObject({
    record: z.literal('family'),
    familyId: id,
    userId: id,
    transport: z.string(),
    deviceName: z.string().nullable(),
    // An export of version 1 or 2 has none.
    subject: z.string().refine(isSubject, subjectRule).nullable().default(null),
    createdAt: instant,
    absoluteExpiresAt: instant,
  }),
  z.strictObject({
    record: z.literal('event'),
    familyId: id,
    seq: integer,
    kind: z.enum(eventKinds),
    generation: integer,
    occurredAt: instant,
    expiresAt: instant.nullable(),
    absoluteExpiresAt: instant.nullable(),
    userId: id.nullable(),
    transport: z.string().nullable(),
    tokenHash: bytes(32).nullable(),
    salt: bytes(16).nullable(),
    attemptHash: bytes(32).nullable(),
    presentedGeneration: integer.nullable(),
    reason: z.string().nullable(),
    actorUserId: id.nullable(),
    ip: z.string().nullable(),
    userAgent: z.string().nullable(),
    originSalt: bytes(16).nullable(),
    originHash: bytes(32),
    prevHash: bytes(32).nullable(),
    hash: bytes(32),
    txid: z.string().regex(/^\d{1,20}$/),
    // An export of version 1 has neither.
    methods: z
      .array(z.string().regex(methodPattern))
      .min(1)
      .max(maxMethods)
      .nullable()
      .default(null),
    authenticatedAt: instant.nullable().default(null),
  }),
  z.strictObject({
    record: z.literal('end'),
    families: z.number().int(),
    events: z.number().int(),
  }),
])

/** @returns the record, or what is wrong with the line */
function parseRecord(line: string): LedgerRecord | string {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return 'not JSON'
  }
  const parsed = recordSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  return `not a valid record: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`.trim()
}
