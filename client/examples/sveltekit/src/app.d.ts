import type { Current } from '@token-ledger/client/server'

declare global {
  namespace App {
    interface Locals {
      session: Current
    }
  }
}
