import { z } from 'zod'
import { appRouter, authRouter } from '../../server/router.ts'

/** One procedure of the service, as its router knows it. */
export type Procedure = {
  /** Where it answers: `auth/login`, `trpc/sessions.list`. */
  readonly at: string
  readonly type: 'query' | 'mutation' | 'subscription'
  /** What it takes, as JSON Schema; null for one that takes nothing. */
  readonly input: InputSchema | null
}

export type InputSchema = {
  readonly type?: string
  readonly properties?: Record<string, FieldSchema>
  readonly additionalProperties?: unknown
}

export type FieldSchema = {
  readonly type?: string
  readonly format?: string
  readonly pattern?: string
  readonly enum?: readonly unknown[]
  readonly maximum?: number
  readonly maxLength?: number
  readonly maxItems?: number
  readonly items?: FieldSchema
}

/** Every procedure there is: a test that walks them meets a new one by itself. */
export function allProcedures(): Procedure[] {
  return [...walk('auth', authRouter), ...walk('trpc', appRouter)]
}

type Walked = { readonly _def: { readonly procedures: object } }

function walk(mount: string, router: Walked): Procedure[] {
  return Object.entries(router._def.procedures).map(([path, procedure]) => {
    const { type, inputs } = procedure._def as { type: Procedure['type']; inputs: z.ZodType[] }
    if (inputs.length > 1) throw new Error(`${path} has ${inputs.length} inputs`)
    const [input] = inputs
    return {
      at: `${mount}/${path}`,
      type,
      input: input === undefined ? null : (z.toJSONSchema(input, { io: 'input' }) as InputSchema),
    }
  })
}
