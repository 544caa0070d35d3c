import { once } from 'node:events'
import type { Writable } from 'node:stream'
import type { Found, Period } from '../../db/audit/export.ts'
import { AuthError } from '../errors.ts'
import { jsonLine } from './json-line.ts'
import type { EventRecord, ExportBegin, ExportEnd, FamilyRecord } from '../ledger/record.ts'
import { iso } from './views.ts'

type Take = (record: FamilyRecord | EventRecord) => Promise<void> | void

/** Writing to a file or a pipe failed. The message is one line. */
export class CannotWrite extends Error {
  constructor(what: string, cause: unknown) {
    const [reason] = cause instanceof Error ? cause.message.split(',') : []
    super(`cannot write ${what}: ${reason ?? 'failed'}`, { cause })
  }
}

/**
 * Writes an export, one record per line, no faster than `out` accepts it.
 *
 * @param source.read reads the families of the period in the order of their ids
 * @param source.signal aborted where no reader is left: what was begun ends then
 * @param source.drainMs how long `out` may accept nothing; without a limit if absent
 * @throws {CannotWrite}
 */
export async function writeExport(
  out: Writable,
  source: {
    period: Period
    read: (take: Take) => Promise<Found>
    signal?: AbortSignal
    drainMs?: number
  },
  onRecord: (found: Found) => void = () => {},
): Promise<Found> {
  const { period } = source
  const { fromAt, toAt } = period
  const begin: ExportBegin = {
    record: 'export',
    version: 3,
    from: iso(fromAt),
    to: iso(toAt),
  }
  // An error between two writes must not be uncaught: the next write finds it in `out.errored`.
  out.on('error', () => {})
  await write(out, begin, source)
  const soFar = { families: 0, events: 0 }
  const found = await source.read(async (record) => {
    await write(out, record, source)
    soFar[record.record === 'family' ? 'families' : 'events'] += 1
    onRecord(soFar)
  })
  const end: ExportEnd = { record: 'end', families: found.families, events: found.events }
  await write(out, end, source)
  return found
}

async function write(
  out: Writable,
  record: object,
  { signal, drainMs }: { signal?: AbortSignal; drainMs?: number },
): Promise<void> {
  if (out.errored) throw new CannotWrite('the export', out.errored)
  if (out.write(`${jsonLine(record)}\n`)) return
  const stall = () =>
    out.destroy(new AuthError('service_unavailable', `nothing was read for ${drainMs} ms`))
  const limit = drainMs === undefined ? undefined : setTimeout(stall, drainMs)
  try {
    await once(out, 'drain', { signal })
  } catch (error) {
    throw new CannotWrite('the export', error)
  } finally {
    clearTimeout(limit)
  }
}
