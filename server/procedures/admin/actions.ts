import { z } from 'zod'
import { listAdminActions } from '../../../db/audit/admin-actions.ts'
import { adminActions } from '../../../db/schema.ts'
import { iso } from '../../audit/views.ts'
import { askingProcedure } from '../access.ts'
import { instant, limit, pageOf, userId } from '../input.ts'
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
        actorUserId: userId.optional(),
        targetUserId: userId.optional(),
        from: instant.optional(),
        to: instant.optional(),
        cursor: cursor.optional(),
        limit,
      })
      .prefault({}),
  )
  .query(async ({ ctx, input }) => {
    const { from, to, cursor: after, limit: pageSize, ...by } = input
    const filter = { ...by, fromAt: from, toAt: to }
    const page = { cursor: after, limit: pageSize }
    const rows = await listAdminActions(ctx.deps.database.questions, filter, page)
    return pageOf(rows, pageSize, {
      item: (act) => ({ ...act, occurredAt: iso(act.occurredAt) }),
      cursor: (act) => String(act.actionId),
    })
  })

export const adminActionsRouter = appRouterOf({ list })
