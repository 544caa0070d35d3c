import type { RefreshRecord } from './cookie-order.ts'
import type { SignedOut } from '../session.ts'

/** What tabs tell each other: never a token. */
export type TabMessage =
  | { readonly kind: 'signed-in'; readonly familyId: string }
  | { readonly kind: 'signed-out'; readonly familyId: string | null; readonly session: SignedOut }
  | { readonly kind: 'refreshed'; readonly settled: RefreshRecord }

export type TabChannel = { tell(message: TabMessage): void; close(): void }

/** To the other tabs of this origin; to nobody where there is no `BroadcastChannel`. */
export function openTabChannel(name: string, hear: (message: TabMessage) => void): TabChannel {
  if (typeof BroadcastChannel === 'undefined') return { tell() {}, close() {} }
  const channel = new BroadcastChannel(name)
  // In Node an open channel would keep the process running.
  if ('unref' in channel && typeof channel.unref === 'function') channel.unref()
  channel.addEventListener('message', ({ data }: MessageEvent<TabMessage>) => hear(data))
  return {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel has its origin
    tell: (message) => channel.postMessage(message),
    close: () => channel.close(),
  }
}
