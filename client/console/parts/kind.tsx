import type { ReactNode } from 'react'
import { kindWords, type EventKind } from '../words/session-terms.ts'
import { Badge, type Tone } from './badge.tsx'

const tones: Record<EventKind, Tone> = {
  issued: 'plain',
  rotated: 'plain',
  replayed: 'good',
  reuse_detected: 'bad',
  revoked: 'warn',
}

/** The kind of an event. */
export function Kind({ kind }: { readonly kind: EventKind }): ReactNode {
  return <Badge tone={tones[kind]}>{kindWords[kind]}</Badge>
}
