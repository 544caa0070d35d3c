import type { ReactNode } from 'react'
import { Screen } from '../../parts/screen.tsx'

export function Ledger(): ReactNode {
  return <Screen title="Ledger">{null}</Screen>
}
