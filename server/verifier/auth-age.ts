import { StepUpRequiredError } from './failure.ts'
import type { AccessTokenClaims } from './verify-access-token.ts'

/** What a call asks for beyond a valid token. */
export type Requirements = {
  /**
   * How long ago the user may have authenticated, by a sign-in or again since: whole seconds. An older token is refused
   * with `step_up_required`. Any age is accepted unless given.
   *
   * @see RFC 9470
   */
  readonly maxAuthAgeSeconds?: number | undefined
}

/**
 * @param now epoch milliseconds
 * @throws StepUpRequiredError if the user authenticated longer ago
 */
export function mustBeRecent(
  { authenticatedAt }: Pick<AccessTokenClaims, 'authenticatedAt'>,
  maxAuthAgeSeconds: number,
  now: number,
): void {
  // Asked in this form, a limit that is not a number refuses every token.
  const isRecent = now - authenticatedAt <= maxAuthAgeSeconds * 1000
  if (!isRecent) throw new StepUpRequiredError(maxAuthAgeSeconds)
}
