import type { Grant } from '../auth-api.ts'
import type { RefreshRecord } from './cookie-order.ts'
import type { SignedOut } from '../session.ts'

/**
 * Messages between tabs. An access token is only in the answer to a tab that has none, and in the news that the user
 * has authenticated again. No message holds a refresh token.
 */
export type TabMessage =
  | { readonly kind: 'signed-in'; readonly familyId: string }
  | { readonly kind: 'signed-out'; readonly familyId: string | null; readonly session: SignedOut }
  | {
      readonly kind: 'refreshed'
      readonly record: RefreshRecord
      readonly grant?: Grant | undefined
    }
  | { readonly kind: 'asked' }
  | { readonly kind: 'answered'; readonly grant: Grant }

/**
 * Connects to the other tabs of this origin.
 *
 * @returns null without `BroadcastChannel`, and where it throws, as in Firefox when cookies are blocked
 */
export function openTabChannel(
  name: string,
  onMessage: (message: TabMessage) => void,
): BroadcastChannel | null {
  try {
    const channel: BroadcastChannel & { unref?: () => void } = new BroadcastChannel(name)
    // In Node, an open channel would keep the process alive.
    channel.unref?.()
    channel.addEventListener('message', ({ data }: MessageEvent<TabMessage>) => onMessage(data))
    return channel
  } catch {
    return null
  }
}
