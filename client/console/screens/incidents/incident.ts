import type { Outputs } from '../../outputs.ts'

export type Incident = Outputs['admin']['incidents']['list']['items'][number]
