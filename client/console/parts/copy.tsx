import { useEffect, useState, type ReactNode } from 'react'
import { words } from '../words/common.ts'

const shownMs = 2_000

/** Copies `text` to the clipboard. @param what names it for a screen reader: "session id" */
export function CopyButton({
  text,
  what,
}: {
  readonly text: string
  readonly what: string
}): ReactNode {
  const [outcome, setOutcome] = useState<'copied' | 'noCopy' | null>(null)
  useEffect(() => {
    if (outcome === null) return
    const timer = setTimeout(() => setOutcome(null), shownMs)
    return () => clearTimeout(timer)
  }, [outcome])
  const copy = async () => {
    try {
      // A page over http has no clipboard.
      await navigator.clipboard.writeText(text)
      setOutcome('copied')
    } catch {
      setOutcome('noCopy')
    }
  }
  return (
    <>
      <button
        type="button"
        className="quiet small"
        aria-label={`${words.copy} ${what}`}
        onClick={() => void copy()}
      >
        {outcome === 'copied' ? words.copied : words.copy}
      </button>
      <span role="status" className="for-readers">
        {outcome === null ? '' : words[outcome]}
      </span>
    </>
  )
}

/** An id with a button that copies it. */
export function Id({ id, what }: { readonly id: string; readonly what: string }): ReactNode {
  return (
    <span className="id">
      <code>{id}</code> <CopyButton text={id} what={what} />
    </span>
  )
}
