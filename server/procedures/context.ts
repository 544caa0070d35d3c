import type { Caller } from '../../db/ledger/event-rows.ts'
import type { Bearer } from './bearer.ts'
import type { ServiceDeps } from './deps.ts'

/** The refresh cookie of one request and its response; only `/auth` has one. */
export type RefreshCookie = {
  /** What the browser sent under the cookie's name; usually one value, or none. */
  readonly values: readonly string[]
  set(token: string, remainingMs: number): void
  clear(): void
}

export type BaseContext = {
  readonly deps: ServiceDeps
  readonly caller: Caller
  /** The address is that of a proxy that `TRUSTED_PROXIES` does not name: others come through it as well. */
  readonly isAddressShared: boolean
}

export type AuthContext = BaseContext & {
  readonly cookie: RefreshCookie
  /** False once the client has disconnected, or has probably stopped waiting. */
  readonly isClientWaiting: () => boolean
}

export type AppContext = BaseContext & { readonly bearer: Bearer }
