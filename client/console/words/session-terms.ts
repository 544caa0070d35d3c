import type { inferRouterOutputs } from '@trpc/server'
import type { AppRouter } from '../../trpc.ts'

type SessionView = inferRouterOutputs<AppRouter>['admin']['sessions']['list']['items'][number]
type EventView = inferRouterOutputs<AppRouter>['admin']['ledger']['events']['items'][number]

export type SessionStatus = SessionView['status']
export type EventKind = EventView['kind']
type EndReason = NonNullable<SessionView['endReason']>
type EventReason = NonNullable<EventView['reason']>

export const statusWords: Record<SessionStatus, string> = {
  active: 'active',
  expired: 'expired',
  revoked: 'ended',
  reuse_detected: 'ended by reuse',
}

export const kindWords: Record<EventKind, string> = {
  issued: 'signed in',
  rotated: 'rotated',
  reauthenticated: 'signed in again',
  replayed: 'repaired a lost answer',
  reuse_detected: 'reuse detected',
  revoked: 'ended',
}

export const reasonWords: Record<EndReason | EventReason, string> = {
  logout: 'signed out',
  logout_everywhere: 'signed out everywhere',
  user_revoked: 'ended by the person, elsewhere',
  admin_revoked: 'ended by an administrator',
  password_changed: 'the password was changed',
  user_disabled: 'the account was disabled',
  reuse_elsewhere: 'reuse in another session of the person',
  session_limit: 'too many sessions',
  expired: 'not used in time, or at the end of its life',
  reuse_detected: 'a spent token came back',
  same_attempt: 'the same attempt asked again',
  grace_window: 'the same client asked again within the grace window',
}

type AdminAct = inferRouterOutputs<AppRouter>['admin']['sessions']['get']['adminActions'][number]

export const actionWords: Record<AdminAct['action'], string> = {
  user_created: 'Account created',
  role_set: 'Role changed',
  user_disabled: 'Account disabled',
  user_enabled: 'Account enabled',
  user_erased: 'Personal data erased',
  session_revoked: 'Session ended',
  sessions_revoked: 'All sessions of the person ended',
  ledger_archived: 'Old sessions archived',
  ledger_restored: 'Ledger restored',
  checkpoint_overruled: 'Checkpoint overruled',
}
