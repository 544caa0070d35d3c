import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { words } from '../../words/ledger.ts'

const parts = [
  ['/ledger', words.tail],
  ['/ledger/search', words.search],
  ['/ledger/proof', words.proof],
  ['/ledger/admins', words.admins],
] as const

/** Leads to the four screens of the ledger. */
export function LedgerTabs(): ReactNode {
  return (
    <nav className="tabs" aria-label={words.parts}>
      {parts.map(([to, name]) => (
        <Link key={to} to={to} activeOptions={{ exact: true }}>
          {name}
        </Link>
      ))}
    </nav>
  )
}
