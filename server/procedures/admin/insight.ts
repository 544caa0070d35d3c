import { z } from 'zod'
import { listIncidents, listIncidentsByClient } from '../../../db/audit/incidents.ts'
import { countEvents } from '../../../db/audit/statistics.ts'
import { signsOf } from '../../audit/incident-signs.ts'
import { iso } from '../../audit/views.ts'
import { invalid } from '../../errors.ts'
import { askingProcedure } from '../access.ts'
import { eventCursor, instant, limit, pageOf } from '../input.ts'
import { appRouterOf } from '../trpc.ts'

/** More than the minutes of a day (1,440); a chart needs no more points. */
const maxBuckets = 1_500

const bucketMs = { minute: 60_000, hour: 3_600_000, day: 24 * 3_600_000 } as const

const list = askingProcedure
  .input(
    z
      .strictObject({
        from: instant.optional(),
        to: instant.optional(),
        cursor: eventCursor.optional(),
        limit,
      })
      .prefault({}),
  )
  .query(async ({ ctx, input }) => {
    const period = { fromAt: input.from, toAt: input.to }
    const page = { cursor: input.cursor, limit: input.limit }
    const rows = await listIncidents(ctx.deps.database.questions, period, page)
    return pageOf(rows, input.limit, {
      item: (row) => ({ ...row, signs: signsOf(row), occurredAt: iso(row.occurredAt) }),
      cursor: (row) => `${row.occurredAt}:${row.incidentId}`,
    })
  })

/** Incidents grouped by client version, for which the user agent stands. */
const byClient = askingProcedure
  .input(z.strictObject({ from: instant.optional(), to: instant.optional() }).prefault({}))
  .query(async ({ ctx, input }) => {
    const period = { fromAt: input.from, toAt: input.to }
    const rows = await listIncidentsByClient(ctx.deps.database.questions, period)
    const items = rows.map((row) => ({
      ...row,
      firstAt: iso(row.firstAt),
      lastAt: iso(row.lastAt),
    }))
    return { items }
  })

/** Events counted in buckets of equal length, in UTC. */
export const stats = askingProcedure
  .input(z.strictObject({ from: instant, to: instant, bucket: z.enum(['minute', 'hour', 'day']) }))
  .query(async ({ ctx, input }) => {
    const { from, to, bucket } = input
    const step = bucketMs[bucket]
    const count = (to - from) / step
    const problem =
      count <= 0
        ? 'to: Must be later than from.'
        : count > maxBuckets
          ? `bucket: The period has more than ${maxBuckets} buckets. Choose a longer bucket or a shorter period.`
          : null
    if (problem !== null) throw invalid(problem)
    const rows = await countEvents(ctx.deps.database.questions, { fromAt: from, toAt: to }, step)
    return { bucket, items: rows.map((row) => ({ ...row, at: iso(row.at) })), nextCursor: null }
  })

export const adminIncidentsRouter = appRouterOf({ list, byClient })
