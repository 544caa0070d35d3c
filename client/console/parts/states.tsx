import type { ReactNode } from 'react'
import { problemOf, words } from '../words/common.ts'

export function Loading({
  children = words.loading,
}: {
  readonly children?: ReactNode
}): ReactNode {
  return (
    <p className="state loading" role="status">
      {children}
    </p>
  )
}

export function Empty({ children }: { readonly children: ReactNode }): ReactNode {
  return <p className="state empty">{children}</p>
}

/** What failed, in words, with a way to try again where that makes sense. */
export function Failed({
  error,
  again,
}: {
  readonly error: unknown
  readonly again?: (() => void) | undefined
}): ReactNode {
  return (
    <div className="state failed" role="alert">
      <p>{problemOf(error)}</p>
      {again !== undefined && (
        <button type="button" className="quiet" onClick={again}>
          {words.tryAgain}
        </button>
      )}
    </div>
  )
}

/** Something that went well, said once. */
export function Done({ children }: { readonly children: ReactNode }): ReactNode {
  return (
    <p className="state done" role="status">
      {children}
    </p>
  )
}
