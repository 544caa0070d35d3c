import type { ReactNode } from 'react'
import { words } from '../words/common.ts'

/**
 * A text that a user or a client chose: a name, a user agent, a reason. It is isolated from the direction of the text
 * around it, and cut where it does not fit.
 *
 * @param isWhole shows all of it, on as many lines as it needs
 */
export function Foreign({
  text,
  isWhole = false,
}: {
  readonly text: string | null
  readonly isWhole?: boolean
}): ReactNode {
  if (text === null || text === '') return words.none
  return (
    <bdi
      className={isWhole ? 'foreign whole' : 'foreign'}
      title={isWhole ? undefined : text.slice(0, 300)}
    >
      {text}
    </bdi>
  )
}
