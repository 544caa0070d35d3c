import type { ReactNode } from 'react'
import { Screen } from '../../parts/screen.tsx'

export function Account(): ReactNode {
  return <Screen title="Account">{null}</Screen>
}
