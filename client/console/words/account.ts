import type { inferRouterOutputs } from '@trpc/server'
import type { AppRouter } from '../../trpc.ts'

type OwnEvent = inferRouterOutputs<AppRouter>['account']['events']['items'][number]

export const words = {
  title: 'Your account',
  sessions: 'Where you are signed in',
  sessionsCaption: 'Your sessions',
  noSessions: 'You are signed in nowhere else.',
  device: 'Device',
  network: 'Address',
  since: 'Since',
  lastUsed: 'Last used',
  actions: 'Actions',
  thisOne: 'this one',
  end: 'End',
  endTitle: 'End this session?',
  endText: 'That device is signed out at once. It has to sign in again.',
  endOthers: 'End all others',
  endOthersTitle: 'End all other sessions?',
  endOthersText: 'Every other device and browser is signed out at once. You stay signed in here.',
  ended: 'The session was ended.',
  endedOne: 'session was ended.',
  endedOther: 'sessions were ended.',
  lately: 'What happened lately',
  nothing: 'Nothing yet.',
  incident: 'incident id',
  from: 'from',
  password: 'Change your password',
  passwordText: 'All your other sessions end when the password changes.',
  current: 'Current password',
  next: 'New password',
  repeat: 'New password, again',
  change: 'Change the password',
  changing: 'Changing …',
  changed: 'Your password was changed.',
  differs: 'The two new passwords differ.',
  wrongPassword: 'The current password is wrong.',
} as const

/** What an event of the person's own sessions means to them. */
export function ownEventWords({ kind, reason }: OwnEvent): string {
  if (kind === 'issued') return 'You signed in'
  if (kind === 'reuse_detected')
    return 'A session was ended to protect you: a copy of its credential was used'
  switch (reason) {
    case 'logout':
      return 'You signed out'
    case 'logout_everywhere':
      return 'You signed out everywhere'
    case 'user_revoked':
      return 'You ended this session from another device'
    case 'admin_revoked':
      return 'An administrator ended this session'
    case 'password_changed':
      return 'This session ended because your password changed'
    case 'user_disabled':
      return 'This session ended because your account was disabled'
    case 'reuse_elsewhere':
      return 'This session ended because a copy of the credential of another one was used'
    case 'session_limit':
      return 'This session ended because you had signed in on too many devices'
    case null:
      return 'This session ended'
  }
}
