import { audiences } from './audiences.ts'
import { connectionRules } from './connections.ts'
import { consoleRules } from './console.ts'
import { cookies } from './cookies.ts'
import { calls } from './calls.ts'
import { frontends } from './frontends.ts'
import { clients } from './clients.ts'
import { evidence } from './evidence.ts'
import { guards } from './guards.ts'
import { keysAndCopies } from './keys.ts'
import { limits } from './limits.ts'
import { logins } from './logins.ts'
import type { Mutation } from './mutation.ts'
import { packages } from './packages.ts'
import { revocations } from './revocations.ts'
import { rules } from './rules.ts'
import { screenRules } from './screens.ts'
import { starts } from './starts.ts'
import { tokens } from './tokens.ts'
import { users } from './users.ts'
import { verifiedTokens } from './verified-tokens.ts'
import { writes } from './writes.ts'

/** All mutations: `npm run test:mutations` applies each and expects its tests to fail. */
export const mutations: readonly Mutation[] = [
  ...rules,
  ...tokens,
  ...writes,
  ...guards,
  ...evidence,
  ...keysAndCopies,
  ...logins,
  ...starts,
  ...revocations,
  ...audiences,
  ...frontends,
  ...consoleRules,
  ...users,
  ...verifiedTokens,
  ...cookies,
  ...calls,
  ...clients,
  ...limits,
  ...screenRules,
  ...packages,
  ...connectionRules,
]
