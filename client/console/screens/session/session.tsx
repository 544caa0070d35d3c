import type { ReactNode } from 'react'
import { Screen } from '../../parts/screen.tsx'

export function Session(): ReactNode {
  return <Screen title="Session">{null}</Screen>
}
