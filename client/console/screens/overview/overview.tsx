import type { ReactNode } from 'react'
import { Screen } from '../../parts/screen.tsx'

export function Overview(): ReactNode {
  return <Screen title="Overview">{null}</Screen>
}
