import { z } from 'zod'
import { countIncidentsOfWeek, readProcesses } from '../../../db/audit/overview.ts'
import { countActiveSessions } from '../../../db/audit/session-counts.ts'
import { countEvents, type Bucket } from '../../../db/audit/statistics.ts'
import { readCheckpoints } from '../../../db/evidence/checkpoints.ts'
import { readLogLag } from '../../../db/evidence/log.ts'
import { markEveryMs } from '../../audit/restored-copy.ts'
import { iso } from '../../audit/views.ts'
import { invalid } from '../../errors.ts'
import { askingProcedure } from '../access.ts'
import type { ServiceDeps } from '../deps.ts'
import { instant } from '../input.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs

/** A chart of more days has more points than a screen. */
const maxDays = 1_500

/** The events of a period in steps that suit its length, and the state of the service now. */
export const overview = askingProcedure
  .input(z.strictObject({ from: instant, to: instant }))
  .query(async ({ ctx, input: { from, to } }) => {
    const { deps } = ctx
    if (to <= from) throw invalid('to: Must be later than from.')
    if (to - from > maxDays * dayMs) throw invalid(`to: At most ${maxDays} days after from.`)
    const { questions } = deps.database
    const { bucket, stepMs } = bucketFor(to - from)
    // Whole steps: a first step of which only the end was counted would look like a quiet one.
    const fromAt = Math.floor(from / stepMs) * stepMs
    const toAt = Math.ceil(to / stepMs) * stepMs
    const rows = await countEvents(questions, { fromAt, toAt }, stepMs)
    return {
      bucket,
      items: rows.map((row) => ({ ...row, at: iso(row.at) })),
      totals: totalsOf(rows),
      activeSessions: await countActiveSessions(questions),
      incidentsOfWeek: await countIncidentsOfWeek(questions),
      log: await logOf(deps),
      processes: await processesOf(deps),
      warnings: [...deps.warnings()],
    }
  })

/** At most 180 points up to a week. */
function bucketFor(lengthMs: number) {
  if (lengthMs <= 3 * hourMs) return { bucket: 'minute' as const, stepMs: 60_000 }
  if (lengthMs <= 7.5 * dayMs) return { bucket: 'hour' as const, stepMs: hourMs }
  return { bucket: 'day' as const, stepMs: dayMs }
}

function totalsOf(rows: readonly Bucket[]): Omit<Bucket, 'at'> {
  const sum = (kind: keyof Bucket) => rows.reduce((total, row) => total + row[kind], 0)
  return {
    issued: sum('issued'),
    rotated: sum('rotated'),
    replayed: sum('replayed'),
    reuseDetected: sum('reuseDetected'),
    revoked: sum('revoked'),
  }
}

async function logOf({ database, checkpoints }: ServiceDeps) {
  const behindMs = await readLogLag(database.questions)
  const [newest] = await readCheckpoints(database.questions, 1)
  return {
    /** The age of the oldest event that is not in the log. */
    behindMs,
    /** The newest that was signed. */
    checkpoint: newest === undefined ? null : { size: newest.size, signedAt: iso(newest.signedAt) },
    /** Why this process signs none. */
    refusal: checkpoints.refusal(),
  }
}

async function processesOf({ database, processId, endedSessions }: ServiceDeps) {
  const seen = await readProcesses(database.questions, markEveryMs)
  return seen.map((one) => {
    const isThis = one.processId === processId
    return {
      ...one,
      isThis,
      // This process knows better than its last mark.
      lagMs: isThis ? Math.round(endedSessions.lagMs()) : one.lagMs,
      startedAt: iso(one.startedAt),
      seenAt: iso(one.seenAt),
    }
  })
}
