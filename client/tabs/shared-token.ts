import type { Grant } from '../auth-api.ts'
import { within } from '../sleep.ts'
import type { TabMessage } from './channel.ts'

/** A page answers within milliseconds, unless its tab was closed or frozen. */
const longestAnswerMs = 250

export type SharedToken = {
  /** Asks for the access token of the tab that refreshed last. @returns null without an answer */
  readonly ask: () => Promise<Grant | null>
  readonly onMessage: (message: TabMessage) => void
}

/**
 * Many tabs that open at once need one refresh, not one each: the service allows a session about forty in a minute.
 *
 * @param lend The token of this tab, if it refreshed last: so each question has one answer.
 */
export function shareToken(
  post: (message: TabMessage) => void,
  lend: () => Grant | null,
): SharedToken {
  let take: ((grant: Grant) => void) | null = null
  return {
    async ask() {
      const answered = new Promise<Grant>((resolve) => {
        take = resolve
      })
      post({ kind: 'asked' })
      return within(longestAnswerMs, answered)
    },
    onMessage(message) {
      if (message.kind === 'answered') take?.(message.grant)
      const grant = message.kind === 'asked' ? lend() : null
      if (grant !== null) post({ kind: 'answered', grant })
    },
  }
}
