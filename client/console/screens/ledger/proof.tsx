import type { ReactNode } from 'react'
import { Screen } from '../../parts/screen.tsx'
import { words } from '../../words/ledger.ts'
import { Checkpoints } from './checkpoints.tsx'
import { Export } from './export.tsx'
import { LedgerTabs } from './ledger-tabs.tsx'
import { Verification } from './verification.tsx'

/** What shows that the ledger is whole, to an admin and to outsiders. */
export function LedgerProof(): ReactNode {
  return (
    <Screen title={words.proof}>
      <LedgerTabs />
      <Verification />
      <Export />
      <Checkpoints />
    </Screen>
  )
}
