import type { ReactNode } from 'react'
import { words } from '../words/common.ts'

/** The frame of a screen: the title of the tab, the heading, and what can be done with all of it. */
export function Screen({
  title,
  lead,
  actions,
  children,
}: {
  readonly title: string
  readonly lead?: ReactNode
  readonly actions?: ReactNode
  readonly children: ReactNode
}): ReactNode {
  return (
    <>
      <title>{`${title} · ${words.product}`}</title>
      <div className="screen-head">
        {/* The shell moves the focus here when the screen changes. */}
        <h1 tabIndex={-1}>{title}</h1>
        {actions !== undefined && <div className="actions">{actions}</div>}
        {lead !== undefined && <p className="lead">{lead}</p>}
      </div>
      {children}
    </>
  )
}

/** A part of a screen with a heading of its own. */
export function Section({
  title,
  actions,
  children,
}: {
  readonly title: string
  readonly actions?: ReactNode
  readonly children: ReactNode
}): ReactNode {
  return (
    <section className="card">
      <div className="section-head">
        <h2>{title}</h2>
        {actions !== undefined && <div className="actions">{actions}</div>}
      </div>
      {children}
    </section>
  )
}
