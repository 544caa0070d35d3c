import { initTRPC, TRPCError } from '@trpc/server'
import type { output, ZodType } from 'zod'
import { maxAccessTokenSeconds } from '../verifier/access-token-life.ts'
import type { AppContext, AuthContext } from './context.ts'
import { settings } from './error-formatter.ts'

const auth = initTRPC.context<AuthContext>().create(settings)

export const appTrpc = initTRPC.context<AppContext>().create({
  ...settings,
  sse: {
    // Proxies close what is silent; and no stream outlives the longest access token there may be.
    ping: { enabled: true, intervalMs: 15_000 },
    maxDurationMs: maxAccessTokenSeconds * 1000,
    client: { reconnectAfterInactivityMs: 45_000 },
  },
})

export const authRouterOf = auth.router

/** A mutation of `/auth`: what its mount calls, and what a typed client knows of it. */
export type AuthMutation = {
  readonly procedure: unknown
  /** @throws {TRPCError} `BAD_REQUEST` for an input of another shape */
  call(ctx: AuthContext, input: unknown): Promise<unknown>
}

/**
 * One resolver, in two forms. tRPC's own caller copies what it knows of a call six times over on the way to
 * the resolver, which is an eighth of what a refresh costs; the mount calls the resolver itself.
 */
export function authMutation<Schema extends ZodType, Output>(
  schema: Schema,
  resolve: (call: { ctx: AuthContext; input: output<Schema> }) => Promise<Output>,
) {
  return {
    procedure: auth.procedure
      .input(schema)
      .mutation(({ ctx, input }) => resolve({ ctx, input: input as output<Schema> })),
    async call(ctx, input) {
      const parsed = schema.safeParse(input)
      if (!parsed.success) throw new TRPCError({ code: 'BAD_REQUEST', cause: parsed.error })
      return resolve({ ctx, input: parsed.data })
    },
  } satisfies AuthMutation
}

export const appRouterOf = appTrpc.router
