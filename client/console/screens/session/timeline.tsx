import { useMemo, useState, type ReactNode } from 'react'
import { useWidth } from '../../parts/use-width.ts'
import type { EventKind } from '../../words/session-terms.ts'
import { words } from '../../words/session.ts'
import { layOut, spanOf } from './layout.ts'
import { Picture } from './picture.tsx'
import type { SessionLife } from './session-life.ts'
import { StateAt } from './state-at.tsx'

const kinds = Object.keys(words.legend) as EventKind[]

/** The picture, and the moment that the reader asks about. */
export function Timeline({ session }: { readonly session: SessionLife }): ReactNode {
  const [box, width] = useWidth()
  const [now] = useState(() => Date.now())
  const span = useMemo(() => spanOf(session, now), [session, now])
  const [chosen, setChosen] = useState<number | null>(null)
  const at = chosen ?? span.toAt
  const layout = useMemo(() => layOut(session, span, width), [session, span, width])
  const shown = new Set(session.events.map(({ kind }) => kind))
  return (
    <>
      <div ref={box} className="picture-box">
        {width > 0 && session.events.length > 0 && (
          <Picture session={session} layout={layout} at={at} />
        )}
      </div>
      <ul className="legend">
        {kinds
          .filter((kind) => shown.has(kind))
          .map((kind) => (
            <li key={kind} className={kind}>
              {words.legend[kind]}
            </li>
          ))}
      </ul>
      <StateAt session={session} span={span} at={at} choose={setChosen} />
    </>
  )
}
