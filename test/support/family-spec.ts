import { expect } from 'vitest'
import {
  decideRotation,
  type Decision,
  type Refusal,
  type RotateToken,
} from '../../server/ledger/decide.ts'
import type { LedgerEvent } from '../../server/ledger/events.ts'
import { foldFamily } from '../../server/ledger/family.ts'
import { byOwner } from './family-events.ts'

/** The past events are requests of the owner. `given(past events).whenRotating(command).then(event)`, or `.thenRefused(reason, event?)`. */
export function given(...past: readonly LedgerEvent[]) {
  return {
    whenRotating(command: RotateToken) {
      const history = byOwner(past)
      const { event: decided, refusal: refused } = decideRotation(foldFamily(past), {
        ...command,
        history,
      })
      const decision: Decision = { event: decided, refusal: refused }
      return {
        // oxlint-disable-next-line unicorn/no-thenable -- it reads as a sentence and is never awaited
        then: (event: LedgerEvent) => expect(decision).toEqual({ event, refusal: null }),
        thenRefused: (refusal: Refusal, event: LedgerEvent | null = null) =>
          expect(decision).toEqual({ event, refusal }),
      }
    },
  }
}
