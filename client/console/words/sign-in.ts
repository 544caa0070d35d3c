import type { SignedOut } from '../../index.ts'

export const words = {
  title: 'Sign in',
  email: 'E-mail',
  password: 'Password',
  submit: 'Sign in',
  submitting: 'Signing in …',
  incident: 'Incident',
  incidentHint: 'Quote this id when you ask your administrator about it.',
} as const

/** Why there is no session any more; null where there is nothing to explain. */
export function farewellWords(reason: SignedOut['reason']): string | null {
  switch (reason) {
    case 'refresh_token_missing':
      return null
    case 'logout':
      return 'You signed out.'
    case 'session_expired':
      return 'Your session has expired because it was not used for a while, or because it had lasted as long as a session may.'
    case 'session_revoked':
      return 'Your session was ended: by you on another device, by an administrator, or because your password or your account changed.'
    case 'refresh_token_reused':
      return 'Your session was ended to protect you: a copy of its credential was used, from this browser or from another. If you did not restore a backup or copy a browser profile, change your password after you sign in.'
    case 'refresh_token_malformed':
      return 'Your session could not be read, so it was ended. Sign in again.'
  }
}
