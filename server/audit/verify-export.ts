import { z } from 'zod'
import { checkFamily } from '../ledger/chain.ts'
import { eventKinds } from '../ledger/events.ts'
import type { EventRecord, FamilyRecord, LedgerRecord } from '../ledger/record.ts'

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

/** More problems than this are counted, not told. */
const maxProblems = 1_000

/**
 * Checks an export line by line, with nothing but its text: hashes, histories, order, and whether it is whole.
 *
 * @param onLine told after each line, for whoever watches
 */
export async function verifyExport(
  lines: AsyncIterable<string> | Iterable<string>,
  onLine: (progress: { families: number; events: number }) => void = () => {},
): Promise<ExportReport> {
  const check = startCheck()
  for await (const line of lines) {
    check.take(line)
    onLine(check.found)
  }
  return { ...check.found, problems: check.end() }
}

type OpenFamily = { id: string; family: FamilyRecord | null; events: EventRecord[] }

function startCheck() {
  const problems: ExportProblem[] = []
  const found = { families: 0, events: 0 }
  const state = { line: 0, open: null as OpenFamily | null, isOver: false }

  function complain(problem: string, familyId: string | null = null, seq: number | null = null) {
    if (problems.length < maxProblems) problems.push({ familyId, seq, problem })
  }

  function close() {
    const { open } = state
    const problem = open && checkFamily(open.family, open.events)
    if (open && problem) complain(problem.problem, open.id, problem.seq)
  }

  function begin(id: string, family: FamilyRecord | null) {
    close()
    if (state.open !== null && id <= state.open.id)
      complain(`line ${state.line}: the family does not come after the one before`, id)
    state.open = { id, family, events: [] }
  }

  function take(line: string) {
    state.line += 1
    const record = parseRecord(line)
    if (typeof record === 'string') {
      complain(`line ${state.line}: ${record}`, state.open?.id ?? null)
      return
    }
    if (state.isOver) complain(`line ${state.line}: something follows the end`)
    if ((record.record === 'export') !== (state.line === 1))
      complain(`line ${state.line}: an export begins with its first line, once`)
    switch (record.record) {
      case 'export':
        return
      case 'family':
        found.families += 1
        begin(record.familyId, record)
        return
      case 'event':
        found.events += 1
        if (state.open?.id !== record.familyId) begin(record.familyId, null)
        state.open?.events.push(record)
        return
      case 'end':
        state.isOver = true
        if (record.families !== found.families || record.events !== found.events)
          complain(
            `it says ${record.families} families and ${record.events} events, and holds ` +
              `${found.families} and ${found.events}`,
          )
    }
  }

  function end(): ExportProblem[] {
    close()
    if (!state.isOver) complain('it has no end: the file was cut')
    return problems
  }

  return { found, take, end }
}

const bytes = (length: number) => z.string().regex(new RegExp(`^[0-9a-f]{${2 * length}}$`))
const uuid = z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
const instant = z.string().regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/)
const integer = z
  .number()
  .int()
  .min(-(2 ** 31))
  .max(2 ** 31 - 1)

const recordSchema = z.discriminatedUnion('record', [
  z.strictObject({
    record: z.literal('export'),
    version: z.literal(1),
    from: instant.nullable(),
    to: instant.nullable(),
  }),
  z.strictObject({
    record: z.literal('family'),
    familyId: uuid,
    userId: uuid,
    transport: z.string(),
    deviceName: z.string().nullable(),
    createdAt: instant,
    absoluteExpiresAt: instant,
  }),
  z.strictObject({
    record: z.literal('event'),
    familyId: uuid,
    seq: integer,
    kind: z.enum(eventKinds),
    generation: integer,
    occurredAt: instant,
    expiresAt: instant.nullable(),
    absoluteExpiresAt: instant.nullable(),
    userId: uuid.nullable(),
    transport: z.string().nullable(),
    tokenHash: bytes(32).nullable(),
    salt: bytes(16).nullable(),
    attemptHash: bytes(32).nullable(),
    presentedGeneration: integer.nullable(),
    reason: z.string().nullable(),
    actorUserId: uuid.nullable(),
    ip: z.string().nullable(),
    userAgent: z.string().nullable(),
    originSalt: bytes(16).nullable(),
    originHash: bytes(32),
    prevHash: bytes(32).nullable(),
    hash: bytes(32),
    txid: z.string().regex(/^\d{1,20}$/),
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
    return 'no JSON'
  }
  const parsed = recordSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  return `no record of ours: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`.trim()
}
