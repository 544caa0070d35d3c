import { z } from 'zod'
import { listAdminActions } from '../../../db/audit/admin-actions.ts'
import { adminActions } from '../../../db/schema.ts'
import { filteredIdOf } from '../../../db/subjects.ts'
import { iso } from '../../audit/views.ts'
import { askingProcedure } from '../access.ts'
import { instant, limit, pageOf, subject } from '../input.ts'
import { appRouterOf } from '../trpc.ts'

/** The number of an action: a bigint that JavaScript can hold. */
const cursor = z
  .string()
  .regex(/^\d{1,15}$/)
  .transform(Number)

/** What admins and the command line did. */
const list = askingProcedure
  .input(
    z
      .strictObject({
        actions: z.array(z.enum(adminActions)).min(1).max(adminActions.length).optional(),
        actorUserId: subject.optional(),
        targetUserId: subject.optional(),
        from: instant.optional(),
        to: instant.optional(),
        cursor: cursor.optional(),
        limit,
      })
      .prefault({}),
  )
  .query(async ({ ctx, input }) => {
    const { questions } = ctx.deps.database
    const { actions, from, to, cursor: after, limit: pageSize } = input
    const [actorUserId, targetUserId] = await Promise.all([
      filteredIdOf(questions, input.actorUserId),
      filteredIdOf(questions, input.targetUserId),
    ])
    const filter = { actions, actorUserId, targetUserId, fromAt: from, toAt: to }
    const page = { cursor: after, limit: pageSize }
    const rows = await listAdminActions(questions, filter, page)
    return pageOf(rows, pageSize, {
      item: (act) => ({ ...act, occurredAt: iso(act.occurredAt) }),
      cursor: (act) => String(act.actionId),
    })
  })

export const adminActionsRouter = appRouterOf({ list })
