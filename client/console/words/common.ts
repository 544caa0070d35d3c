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

/** What the page waits for, or what went wrong, for each reason that a person can do something about. */
const problems: Partial<Record<Reason, string>> = {
  network_error: 'The service cannot be reached. Check your connection.',
  timeout: 'The service did not answer in time.',
  unreadable_answer:
    'The answer did not come from the service. A proxy or a network sign-in page may be in between.',
  service_unavailable:
    'The service cannot answer right now, usually because it has no database. Nothing was changed.',
  too_many_attempts: 'That was asked too often. Wait a moment.',
  internal_error: 'The service met an error of its own. Its log says more.',
  invalid_credentials: 'The e-mail address or the password is wrong.',
  role_required: 'Only administrators may do that.',
  not_found: 'That does not exist, or not any more.',
  email_taken: 'An account with this e-mail address already exists.',
  cookie_dropped:
    'Your browser did not keep the cookie of the sign-in. Allow cookies for this site.',
  superseded: 'Another tab signed in or out meanwhile.',
}

export function problemWords(reason: Reason, retryAfterSeconds: number | null): string {
  if (reason === 'too_many_attempts' && retryAfterSeconds !== null)
    return `That was asked too often. It works again in ${retryAfterSeconds} s.`
  return problems[reason] ?? `That did not work (${reason}).`
}
