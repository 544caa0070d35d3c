import type { ReactNode } from 'react'
import { statusWords, type SessionStatus } from '../words/session-terms.ts'
import { Badge, type Tone } from './badge.tsx'

const tones: Record<SessionStatus, Tone> = {
  active: 'good',
  expired: 'plain',
  revoked: 'warn',
  reuse_detected: 'bad',
}

/** The status of a session. */
export function Status({ status }: { readonly status: SessionStatus }): ReactNode {
  return <Badge tone={tones[status]}>{statusWords[status]}</Badge>
}
