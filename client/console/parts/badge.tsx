import type { ReactNode } from 'react'

export type Tone = 'good' | 'bad' | 'warn' | 'plain'

/** A short state. The colour repeats what the word says. */
export function Badge({
  tone,
  children,
}: {
  readonly tone: Tone
  readonly children: ReactNode
}): ReactNode {
  return <span className={`badge ${tone}`}>{children}</span>
}
