import type { ReactNode } from 'react'
import { Screen } from '../../parts/screen.tsx'

export function Users(): ReactNode {
  return <Screen title="Users">{null}</Screen>
}
