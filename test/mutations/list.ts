import { guards } from './guards.ts'
import type { Mutation } from './mutation.ts'
import { revocations } from './revocations.ts'
import { rules } from './rules.ts'
import { tokens } from './tokens.ts'
import { writes } from './writes.ts'

/** Every rule that was broken on purpose: `npm run test:mutations` breaks each again. */
export const mutations: readonly Mutation[] = [
  ...rules,
  ...tokens,
  ...writes,
  ...guards,
  ...revocations,
]
