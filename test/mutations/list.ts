import { guards } from './guards.ts'
import { limits } from './limits.ts'
import type { Mutation } from './mutation.ts'
import { revocations } from './revocations.ts'
import { rules } from './rules.ts'
import { tokens } from './tokens.ts'
import { writes } from './writes.ts'

/** All mutations: `npm run test:mutations` applies each and expects its tests to fail. */
export const mutations: readonly Mutation[] = [
  ...rules,
  ...tokens,
  ...writes,
  ...guards,
  ...revocations,
  ...limits,
]
