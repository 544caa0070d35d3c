import {
  callTRPCProcedure,
  getTRPCErrorFromUnknown,
  getTRPCErrorShape,
  type TRPCError,
} from '@trpc/server'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AppContext } from '../procedures/context.ts'
import { appRouter } from '../procedures/router.ts'

/** The calls of one request: what its path names, as a batch or alone. */
export type NamedCalls = { readonly isBatch: boolean; readonly names: readonly string[] }

export type DirectCalls = NamedCalls & {
  readonly type: 'query' | 'mutation'
  readonly inputs: readonly unknown[]
}

/**
 * The calls with their inputs, if they are plain: existing queries with GET or mutations with POST, whose input is JSON
 * and whose answer is one document. Null for everything else, which tRPC's handler answers.
 */
export function directCallsIn(request: FastifyRequest, calls: NamedCalls): DirectCalls | null {
  const { headers, raw } = request
  const type = request.method === 'GET' ? 'query' : 'mutation'
  const { accept = '', 'content-type': contentType = '' } = headers
  if (headers['trpc-accept'] !== undefined || accept.includes('application/jsonl')) return null
  if (!isJson(contentType) && (type === 'mutation' || contentType !== '')) return null
  const parameters = parametersIn(raw.url ?? '')
  if (parameters === null || (parameters.get('batch') === '1') !== calls.isBatch) return null
  const text = type === 'query' ? parameters.get('input') : request.body
  const inputs = inputsIn(text ?? '', calls)
  return inputs && { type, inputs, ...calls }
}

/** As tRPC's handler reads them; null for a request target that it may read in another way. */
function parametersIn(url: string): URLSearchParams | null {
  if (!url.startsWith('/trpc/') || url.includes('#')) return null
  const parameters = new URLSearchParams(url.includes('?') ? url.slice(url.indexOf('?')) : '')
  return parameters.has('connectionParams') ? null : parameters
}

function isJson(contentType: string): boolean {
  return contentType.split(';', 1)[0]?.trim().toLowerCase() === 'application/json'
}

function inputsIn(text: unknown, { isBatch, names }: NamedCalls): unknown[] | null {
  if (typeof text !== 'string') return null
  let given: unknown
  try {
    given = text === '' ? undefined : JSON.parse(text)
  } catch {
    return null
  }
  if (!isBatch) return [given]
  if (given === undefined) return names.map(() => undefined)
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return null
  return names.map((_name, i) => (given as Record<number, unknown>)[i])
}

export type DirectAnswer = {
  readonly status: number
  /** Those of the calls that failed, in the order of the calls. */
  readonly errors: readonly TRPCError[]
  readonly body: string
}

/**
 * Runs the calls as tRPC's handler does, without making a `Request` and a `Response` of them, which costs more than
 * most calls do.
 */
export async function answerDirectly(
  { isBatch, names, type, inputs }: DirectCalls,
  ctx: AppContext,
  { reply, onError }: { reply: FastifyReply; onError: (error: TRPCError, path: string) => void },
): Promise<DirectAnswer> {
  const signal = abortedWithout(reply)
  const answers = await Promise.all(
    names.map(async (path, i) => {
      const input = inputs[i]
      const getRawInput = async () => input
      try {
        const call = { router: appRouter, path, type, ctx, getRawInput, signal, batchIndex: i }
        const data: unknown = await callTRPCProcedure(call)
        return { status: 200, error: null, body: { result: { data } } }
      } catch (cause) {
        const error = getTRPCErrorFromUnknown(cause)
        onError(error, path)
        const shape = getTRPCErrorShape({
          config: appRouter._def._config,
          error,
          type,
          path,
          input,
          ctx,
        })
        return { status: shape.data.httpStatus, error, body: { error: shape } }
      }
    }),
  )
  const bodies = answers.map(({ body }) => body)
  const [status = 200, ...others] = new Set(answers.map((answer) => answer.status))
  return {
    // 207 for calls that did not all end alike, as tRPC answers them.
    status: others.length === 0 ? status : 207,
    errors: answers.flatMap(({ error }) => error ?? []),
    body: JSON.stringify(isBatch ? bodies : bodies[0]),
  }
}

/** Aborted when the connection closes before the answer was sent. */
export function abortedWithout({ raw }: FastifyReply): AbortSignal {
  const controller = new AbortController()
  raw.once('close', () => {
    if (!raw.writableEnded) controller.abort()
  })
  return controller.signal
}
