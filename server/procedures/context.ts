import type { Caller } from '../../db/ledger/event-rows.ts'
import type { ServiceDeps } from './deps.ts'

/** The refresh cookie of one request and its answer; only `/auth` has one. */
export type RefreshCookie = {
  /** The token the browser sent; null when it sent none. */
  readonly value: string | null
  set(token: string, remainingMs: number): void
  clear(): void
}

type BaseContext = { readonly deps: ServiceDeps; readonly caller: Caller }

export type AuthContext = BaseContext & {
  readonly cookie: RefreshCookie
  /** Whether the caller can be thought to wait still. */
  readonly isClientWaiting: () => boolean
}

export type AppContext = BaseContext & { readonly authorization: string | undefined }
