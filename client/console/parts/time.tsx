import { useEffect, useState, type ReactNode } from 'react'
import { formatAgo, formatMoment, formatUtc } from '../format.ts'
import { words } from '../words/common.ts'

/** Relative times are at most this much too old. */
const tickMs = 30_000

/** A moment in the reader's own zone, with UTC on hover. @param at ISO 8601; null where there was none */
export function Time({ at }: { at: string | null }): ReactNode {
  if (at === null) return words.none
  return (
    <time dateTime={at} title={formatUtc(at)}>
      {formatMoment(at)}
    </time>
  )
}

/** How long ago, with the moment in UTC on hover. */
export function Ago({ at }: { at: string | null }): ReactNode {
  const now = useNow()
  if (at === null) return words.none
  return (
    <time dateTime={at} title={formatUtc(at)}>
      {formatAgo(at, now)}
    </time>
  )
}

function useNow(): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), tickMs)
    return () => clearInterval(timer)
  }, [])
  return now
}
