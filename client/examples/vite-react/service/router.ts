import { errorFormatter, type AccessTokenContext } from '@token-ledger/verifier/trpc'
import { initTRPC } from '@trpc/server'
import { z } from 'zod'

const t = initTRPC.context<AccessTokenContext>().create({ errorFormatter })

const signedIn = t.procedure.use(async ({ ctx, next }) => {
  const { userId } = await ctx.readAccessToken()
  return next({ ctx: { userId } })
})

const notes = new Map<string, string[]>()
const notesOf = (userId: string) => notes.get(userId) ?? []

export const router = t.router({
  list: signedIn.query(({ ctx }) => notesOf(ctx.userId)),
  add: signedIn.input(z.string().min(1).max(1000)).mutation(({ ctx, input }) => {
    notes.set(ctx.userId, [...notesOf(ctx.userId), input])
  }),
})

export type NotesRouter = typeof router
