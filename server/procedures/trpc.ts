import { initTRPC, TRPCError } from '@trpc/server'
import { ZodError, type output, type ZodType } from 'zod'
import type { Origin } from '../../db/ledger/append.ts'
import { isUnavailable } from '../../db/connection/transaction.ts'
import type { Deps } from './deps.ts'
import { AuthError, authErrors, type ErrorExtras, type Reason } from '../errors.ts'
import type { RefreshCookie } from '../http/refresh-cookie.ts'
import { readSession } from '../../db/audit/sessions.ts'
import { AccessTokenError, type AccessTokenClaims } from '../verifier/index.ts'

type BaseContext = { readonly deps: Deps; readonly origin: Origin }
export type AuthContext = BaseContext & {
  readonly cookie: RefreshCookie
  /** Whether the caller can be thought to wait still. */
  readonly isWanted: () => boolean
}
export type AppContext = BaseContext & { readonly authorization: string | undefined }

/** What a caller is told of an error: the contract's envelope, and nothing of the error itself. */
export type ErrorData = {
  code: TRPCError['code']
  httpStatus: number
  path?: string
  reason: Reason
} & { [Extra in keyof ErrorExtras]: ErrorExtras[Extra] }

const settings = {
  // Never stack traces on the wire, whatever NODE_ENV says (ASVS 5.0, 16.5.1).
  isDev: false,
  errorFormatter({
    shape,
    error,
  }: {
    shape: { code: number; message: string; data: { path?: string; httpStatus: number } }
    error: TRPCError
  }) {
    const { reason, message, extras } = publicFace(error)
    const data: ErrorData = {
      code: authErrors[reason].trpc,
      httpStatus: shape.data.httpStatus,
      ...(shape.data.path !== undefined && { path: shape.data.path }),
      reason,
      ...extras,
    }
    return { code: shape.code, message, data }
  },
}

const auth = initTRPC.context<AuthContext>().create(settings)
const app = initTRPC.context<AppContext>().create({
  ...settings,
  sse: {
    // Proxies close what is silent; and no stream outlives the longest access token there may be.
    ping: { enabled: true, intervalMs: 15_000 },
    maxDurationMs: 900_000,
    client: { reconnectAfterInactivityMs: 45_000 },
  },
})

const appProcedures = app.procedure.use(async ({ next }) => {
  const result = await next()
  if (!result.ok) throw asUnavailable(result.error)
  return result
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

export const appRouterOf = app.router

/** Needs a valid access token of a session that this process does not know to be over. */
const bearerProcedure = appProcedures.use(async ({ ctx, next }) => {
  const session = await claimsOf(ctx)
  const state = ctx.deps.endedSessions.stateOf(session.familyId)
  if (state === 'ended') throw new AuthError('access_token_revoked', 'the session is over')
  return next({ ctx: { ...ctx, session, isGoingOn: state === 'going_on' } })
})

/**
 * Needs a session that was not ended, as this process follows it: at most five seconds late. The database
 * is asked only while it cannot be followed.
 */
export const signedInProcedure = bearerProcedure.use(async ({ ctx, next }) => {
  if (!ctx.isGoingOn) await inTime(mustBeAlive(ctx.deps, ctx.session))
  return next({ ctx })
})

/** Needs a session that is alive now, as the database says: no process is late. */
export const liveProcedure = bearerProcedure.use(async ({ ctx, next }) => {
  await mustBeAlive(ctx.deps, ctx.session)
  return next({ ctx })
})

/** Needs the role admin as it is now. */
export const adminProcedure = bearerProcedure.use(async ({ ctx, path, next }) => {
  await mustBeAdmin(ctx.deps, ctx.session)
  const { deps, origin, session } = ctx
  deps.record({ fact: 'admin_called', procedure: path, actorUserId: session.userId, ip: origin.ip })
  return next({ ctx })
})

async function mustBeAlive({ database }: Deps, session: AccessTokenClaims): Promise<void> {
  const state = await readSession(database, session.familyId)
  if (state?.status !== 'active')
    throw new AuthError('access_token_revoked', `the session is ${state?.status ?? 'unknown'}`)
}

/** A call that needs no database when all is well waits so long for one that says nothing. */
const answerTimeoutMs = 3_000

async function inTime(question: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    const error = new AuthError('service_unavailable', 'the database says nothing', {
      retryAfterSeconds: 1,
    })
    timer = setTimeout(() => reject(error), answerTimeoutMs)
  })
  await Promise.race([question, late]).finally(() => clearTimeout(timer))
}

/** @throws {AuthError} `access_token_revoked`, `role_required`: as the database says now */
export async function mustBeAdmin(deps: Deps, session: AccessTokenClaims): Promise<void> {
  await mustBeAlive(deps, session)
  const { userId } = session
  const user = (await deps.users.findMany([userId])).get(userId)
  if (user?.role !== 'admin' || user.disabled)
    throw new AuthError('role_required', 'not an admin now')
}

async function claimsOf({ deps, authorization }: AppContext): Promise<AccessTokenClaims> {
  try {
    return await deps.verifier.verifyAuthorization(authorization)
  } catch (error) {
    if (error instanceof AccessTokenError) throw new AuthError(error.reason, error.detail)
    throw error
  }
}

/** A database that is away is 503, not 500; every other error stays as it is. */
export function asUnavailable(error: TRPCError): TRPCError {
  if (error instanceof AuthError || !isUnavailable(error.cause)) return error
  return new AuthError('service_unavailable', describe(error.cause), { retryAfterSeconds: 1 })
}

/** The reason, words and extras a caller may see of any error. */
export function publicFace(error: TRPCError): {
  reason: Reason
  message: string
  extras: ErrorExtras
} {
  const reason = error instanceof AuthError ? error.reason : reasonOf(error)
  const said = error.cause instanceof ZodError ? inputProblem(error.cause) : null
  const extras = error instanceof AuthError ? error.extras : {}
  const message = said ?? extras.problem ?? authErrors[reason].message
  return { reason, message, extras: shown(extras) }
}

function shown({ incidentId, retryAfterSeconds }: ErrorExtras): ErrorExtras {
  return {
    ...(incidentId !== undefined && { incidentId }),
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  }
}

function reasonOf({ code }: TRPCError): Reason {
  switch (code) {
    case 'BAD_REQUEST':
    case 'PARSE_ERROR':
    case 'METHOD_NOT_SUPPORTED':
      return 'validation_failed'
    case 'NOT_FOUND':
      return 'not_found'
    case 'PAYLOAD_TOO_LARGE':
      return 'payload_too_large'
    case 'UNSUPPORTED_MEDIA_TYPE':
      return 'unsupported_media_type'
    default:
      return 'internal_error'
  }
}

/** Names the field and the rule; never a value, nor a key of the caller's making. */
function inputProblem({ issues }: ZodError): string {
  const [issue] = issues
  if (issue === undefined) return authErrors.validation_failed.message
  const message = issue.code === 'unrecognized_keys' ? 'Unknown key' : issue.message
  return issue.path.length === 0 ? message : `${issue.path.join('.')}: ${message}`
}

/** For the log: the class and code of an error, without its message, which may quote values. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return typeof error
  const code = 'code' in error ? ` ${String(error.code)}` : ''
  return error.name + code
}
