import { networksOf } from '../limits/networks.ts'
import type { BaseContext } from './context.ts'

/** Where a caller comes from, as the limits of passwords count it. */
export function whereFrom({ caller, isAddressShared }: BaseContext) {
  return { ip: caller.ip, isAddressShared }
}

/** The widest network of the caller: its password hashes wait in one line. */
export function queueOf({ caller, isAddressShared }: BaseContext): string | undefined {
  return isAddressShared ? undefined : networksOf(caller.ip).at(-1)
}
