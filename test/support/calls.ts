import type { AttackAnswer, AttackedServer } from './attacked-server.ts'
import type { Procedure } from './procedures.ts'
import { readTail } from './tail.ts'

/** What a caller is told; for a stream, by its last message. */
export type Said = {
  readonly status: number
  readonly reason: string | undefined
  readonly text: string
}

/** Calls any procedure of the service with this token and input, as its kind asks for. */
export async function call(
  world: AttackedServer,
  { at, type }: Pick<Procedure, 'at' | 'type'>,
  { token, input }: { token?: string | undefined; input?: unknown } = {},
): Promise<Said> {
  const headers: Record<string, string> =
    token === undefined ? {} : { authorization: `Bearer ${token}` }
  if (type === 'subscription') return lastWords(world, at, token)
  const answer: AttackAnswer =
    type === 'query'
      ? await world.request(`/${at}${searchOf(input)}`, { method: 'GET', headers })
      : await world.request(`/${at}`, { headers, json: input ?? {} })
  return { status: answer.status, reason: answer.reason, text: answer.text }
}

export function searchOf(input: unknown): string {
  return input === undefined ? '' : `?input=${encodeURIComponent(JSON.stringify(input))}`
}

/** From the beginning of the ledger, so that one that is let in has something to say. */
const beginning = '1:00000000-0000-0000-0000-000000000000:1'

/** A stream is 200 and says in its last message why it was refused; one that tells events is left at once. */
async function lastWords(
  { url }: AttackedServer,
  at: string,
  token: string | undefined,
): Promise<Said> {
  if (at !== 'trpc/admin.ledger.tail') throw new Error(`how is ${at} read?`)
  for await (const { event, data, id } of readTail(url, token ?? '', { after: beginning })) {
    const text = JSON.stringify(data)
    if (event === 'serialized-error')
      return { status: Number(data.data.httpStatus), reason: data.data.reason, text }
    if (id !== null) return { status: 200, reason: undefined, text }
  }
  throw new Error('the stream said nothing')
}
