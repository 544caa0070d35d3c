import { expect } from 'vitest'
import {
  decideRotation,
  type Decision,
  type Refusal,
  type RotateToken,
} from '../../server/ledger/decide.ts'
import type { LedgerEvent } from '../../server/ledger/events.ts'
import { foldFamily } from '../../server/ledger/family.ts'

/** `given(past events).whenRotating(command).then(event)`, or `.thenRefused(reason, event?)`. */
export function given(...past: readonly LedgerEvent[]) {
  return {
    whenRotating(command: RotateToken) {
      const decision: Decision = decideRotation(foldFamily(past), command)
      return {
        // oxlint-disable-next-line unicorn/no-thenable -- it reads as a sentence and is never awaited
        then: (event: LedgerEvent) => expect(decision).toEqual({ event, refusal: null }),
        thenRefused: (refusal: Refusal, event: LedgerEvent | null = null) =>
          expect(decision).toEqual({ event, refusal }),
      }
    },
  }
}
