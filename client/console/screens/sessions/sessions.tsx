import type { ReactNode } from 'react'
import { Screen } from '../../parts/screen.tsx'

export function Sessions(): ReactNode {
  return <Screen title="Sessions">{null}</Screen>
}
