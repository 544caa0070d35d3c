import type { Outputs } from '../../outputs.ts'

export type User = Outputs['admin']['users']['list']['items'][number]
