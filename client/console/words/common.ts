import { reasonOf, retryAfterSecondsOf, type Reason } from '../problems.ts'

export const words = {
  product: 'token-ledger',
  skip: 'Skip to the content',
  nav: 'Screens',
  yourAccount: 'Your account',
  signOut: 'Sign out',
  asking: 'Asking the service whether you are signed in …',
  loading: 'Loading …',
  loadMore: 'Show more',
  loadingMore: 'Loading more …',
  allShown: 'That is all.',
  tryAgain: 'Try again',
  tryingAgain: 'Trying again …',
  reload: 'Load the page again',
  cancel: 'Cancel',
  close: 'Close',
  copy: 'Copy',
  copied: 'Copied',
  noCopy: 'The browser did not allow the copy',
  none: '–',
  unknown: 'unknown',
  when: 'When',
  reason: 'Reason',
  reasonHint: 'It is kept in the ledger with your name. People whose session ends cannot read it.',
  notFoundTitle: 'There is no such page',
  notFound: 'The address may be incomplete.',
  home: 'Go to the first page',
  roleLost:
    'You are no longer an administrator. What only administrators may see was removed from this page.',
  brokenTitle: 'This part of the page failed',
  noScript: 'Its script could not be loaded. Check your connection.',
} as const

/** The names of the screens, in the order of the navigation. */
export const screenNames = {
  overview: 'Overview',
  sessions: 'Sessions',
  incidents: 'Incidents',
  users: 'Users',
  ledger: 'Ledger',
} as const

/** What went wrong. What is wrong with the input only the service knows. */
export function problemOf(error: unknown): string {
  const reason = reasonOf(error)
  if (reason === 'validation_failed' && error instanceof Error) return error.message
  return problemWords(reason, retryAfterSecondsOf(error))
}

/** What the page waits for, or what went wrong, for each reason. */
export function problemWords(reason: Reason, retryAfterSeconds: number | null): string {
  switch (reason) {
    case 'network_error':
      return 'The service cannot be reached. Check your connection.'
    case 'timeout':
      return 'The service did not answer in time.'
    case 'unreadable_answer':
      return 'The answer did not come from the service. A proxy or a network sign-in page may be in between.'
    case 'service_unavailable':
      return 'The service cannot answer right now, usually because it has no database. Nothing was changed.'
    case 'too_many_attempts':
      return retryAfterSeconds === null
        ? 'That was asked too often. Wait a moment.'
        : `That was asked too often. It works again in ${retryAfterSeconds} s.`
    case 'internal_error':
      return 'The service met an error of its own. Its log says more.'
    case 'invalid_credentials':
      return 'The e-mail address or the password is wrong.'
    case 'role_required':
      return 'Only administrators may do that.'
    case 'not_found':
      return 'That does not exist, or not any more.'
    case 'email_taken':
      return 'An account with this e-mail address already exists.'
    case 'cookie_dropped':
      return 'Your browser did not keep the cookie of the sign-in. Allow cookies for this site.'
    case 'superseded':
      return 'Another tab signed in or out meanwhile.'
    case 'validation_failed':
    case 'refresh_token_missing':
    case 'refresh_token_malformed':
    case 'session_expired':
    case 'session_revoked':
    case 'refresh_token_reused':
    case 'transport_mismatch':
    case 'access_token_missing':
    case 'access_token_invalid':
    case 'access_token_expired':
    case 'access_token_revoked':
    case 'origin_not_allowed':
    case 'registration_closed':
    case 'unsupported_media_type':
    case 'payload_too_large':
    case 'storage_failed':
    case 'disposed':
    case 'origin_not_configured':
      return `That did not work (${reason}).`
  }
}
