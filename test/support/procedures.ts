import { z, type ZodType } from 'zod'
import { appRouter, authRouter } from '../../server/procedures/router.ts'
import type { AttackAnswer, AttackedServer } from './attacked-server.ts'
import { testSignInToken } from './server.ts'
import { testPassword } from './users.ts'

export type Procedure = {
  /** Its path: `/auth/login`, `/trpc/sessions.list`. */
  readonly url: string
  readonly type: 'query' | 'mutation' | 'subscription'
  /** The JSON Schema of its fields; null when it takes no input. */
  readonly fields: Readonly<Record<string, FieldSchema>> | null
  /** A valid input with the required fields, about things that do not exist. */
  readonly sample: Readonly<Record<string, unknown>>
}

export type FieldSchema = {
  readonly type?: string
  readonly format?: string
  readonly pattern?: string
  readonly enum?: readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly maxLength?: number
  readonly maxItems?: number
  readonly items?: FieldSchema
}

/** The other service that a sample names. Set it in ACCESS_TOKEN_AUDIENCES where the call should succeed. */
export const sampleAudience = 'https://orders.example.com'

/** All procedures, read from the routers, so that a new one is attacked as well. */
export const procedures: readonly Procedure[] = [
  ...Object.entries(authRouter._def.procedures).map(([path, made]) =>
    toProcedure('auth', path, made),
  ),
  ...Object.entries(appRouter._def.procedures).map(([path, made]) =>
    toProcedure('trpc', path, made),
  ),
]

/** Calls the procedure with this access token, and with its valid input unless another is given. */
export function callAs(
  attacked: AttackedServer,
  procedure: Procedure,
  { token, input = procedure.sample }: { token: string; input?: unknown },
): Promise<AttackAnswer> {
  const headers = { authorization: `Bearer ${credentialFor(procedure, token)}` }
  return callProcedure(attacked, procedure, { input, headers })
}

/** The access token, or what `sessions` takes in its place. */
export function credentialFor({ url }: Procedure, token: string): string {
  return url === '/auth/sessions' ? testSignInToken : token
}

/** Calls the procedure with any input; hangs up on a stream that goes on. */
export async function callProcedure(
  attacked: AttackedServer,
  { url, type }: Procedure,
  { input, headers = {} }: { input: unknown; headers?: Record<string, string> },
): Promise<AttackAnswer> {
  if (type === 'mutation') return attacked.request(url, { json: input, headers })
  const search = input === undefined ? '' : `?input=${encodeURIComponent(JSON.stringify(input))}`
  return attacked.request(url + search, {
    method: 'GET',
    headers: { ...headers, ...(type === 'subscription' && { accept: 'text/event-stream' }) },
    ...(type === 'subscription' && { leaveAfterMs: 1_500 }),
  })
}

function toProcedure(mount: string, path: string, made: unknown): Procedure {
  const { type, inputs } = (made as { _def: { type: Procedure['type']; inputs: ZodType[] } })._def
  const url = `/${mount}/${path}`
  const [input] = inputs
  if (input === undefined) return { url, type, fields: null, sample: {} }
  const { properties, required = [] } = z.toJSONSchema(input, { io: 'input' }) as {
    properties: Record<string, FieldSchema>
    required?: string[]
  }
  const sample = Object.fromEntries(
    required.map((name) => [name, validValue(name, properties[name]!)]),
  )
  return { url, type, fields: properties, sample }
}

function validValue(name: string, field: FieldSchema): unknown {
  if (field.enum !== undefined) return field.enum[0]
  if (field.format === 'uuid') return '0190b5d2-0000-7000-8000-000000000001'
  if (field.format === 'date-time')
    return name === 'to' ? '2026-01-02T00:00:00Z' : '2026-01-01T00:00:00Z'
  if (field.type === 'integer' || field.type === 'number') return field.minimum ?? 1
  if (field.type === 'boolean') return false
  if (field.type === 'array') return [validValue(name, field.items ?? {})]
  if (name === 'audience') return sampleAudience
  if (name === 'email') return 'stranger@example.com'
  return /password/i.test(name) ? testPassword : 'words'
}
