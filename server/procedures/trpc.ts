import { initTRPC, TRPCError } from '@trpc/server'
import type { output, ZodType } from 'zod'
import { maxAccessTokenSeconds } from '../verifier/access-token-life.ts'
import type { AppContext, AuthContext } from './context.ts'
import { settings } from './error-formatter.ts'

const auth = initTRPC.context<AuthContext>().create(settings)

export const appTrpc = initTRPC.context<AppContext>().create({
  ...settings,
  sse: {
    // Proxies close silent connections. No stream outlives the longest possible access token.
    ping: { enabled: true, intervalMs: 15_000 },
    maxDurationMs: maxAccessTokenSeconds * 1000,
    client: { reconnectAfterInactivityMs: 45_000 },
  },
})

export const authRouterOf = auth.router

/** A mutation of `/auth` as its route calls it. */
export type AuthMutation = {
  /** @throws {TRPCError} `BAD_REQUEST` for an input that does not fit the schema */
  callDirectly(ctx: AuthContext, input: unknown): Promise<unknown>
}

/**
 * One resolver as a tRPC procedure, for the types, and as a direct call. The route uses the direct call:
 * tRPC's own pipeline costs one eighth of a refresh.
 */
export function authMutation<Schema extends ZodType, Output>(
  schema: Schema,
  resolve: (call: { ctx: AuthContext; input: output<Schema> }) => Promise<Output>,
) {
  const procedure = auth.procedure
    .input(schema)
    .mutation(({ ctx, input }) => resolve({ ctx, input: input as output<Schema> }))
  const direct: AuthMutation = {
    async callDirectly(ctx, input) {
      const parsed = schema.safeParse(input)
      if (!parsed.success) throw new TRPCError({ code: 'BAD_REQUEST', cause: parsed.error })
      return resolve({ ctx, input: parsed.data })
    },
  }
  return Object.assign(procedure, direct)
}

export const appRouterOf = appTrpc.router
