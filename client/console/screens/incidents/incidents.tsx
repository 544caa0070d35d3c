import type { ReactNode } from 'react'
import { Screen } from '../../parts/screen.tsx'

export function Incidents(): ReactNode {
  return <Screen title="Incidents">{null}</Screen>
}
