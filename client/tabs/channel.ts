import type { RefreshRecord } from './cookie-order.ts'
import type { SignedOut } from '../session.ts'

/** Messages between tabs. They never hold a token. */
export type TabMessage =
  | { readonly kind: 'signed-in'; readonly familyId: string }
  | { readonly kind: 'signed-out'; readonly familyId: string | null; readonly session: SignedOut }
  | { readonly kind: 'refreshed'; readonly record: RefreshRecord }

export type TabChannel = { post(message: TabMessage): void; close(): void }

/** Connects to the other tabs of this origin. Without `BroadcastChannel`, messages are dropped. */
export function openTabChannel(name: string, onMessage: (message: TabMessage) => void): TabChannel {
  if (typeof BroadcastChannel === 'undefined') return { post() {}, close() {} }
  const channel = new BroadcastChannel(name)
  // In Node, an open channel would keep the process alive.
  if ('unref' in channel && typeof channel.unref === 'function') channel.unref()
  channel.addEventListener('message', ({ data }: MessageEvent<TabMessage>) => onMessage(data))
  return {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel has its origin
    post: (message) => channel.postMessage(message),
    close: () => channel.close(),
  }
}
