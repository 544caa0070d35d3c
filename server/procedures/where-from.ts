import { passwordLineOf } from '../limits/password-limits.ts'
import type { BaseContext } from './context.ts'

/** Where a caller comes from, as the limits of passwords count it. */
export function whereFrom({ caller, isAddressShared }: BaseContext) {
  return { ip: caller.ip, isAddressShared }
}

/** In which line the passwords of the caller wait to be checked. */
export const queueOf = (ctx: BaseContext): string | undefined => passwordLineOf(whereFrom(ctx))
