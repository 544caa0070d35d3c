import { z } from 'zod'
import { AuthError, invalid } from '../errors.ts'
import { liveProcedure } from './access.ts'
import { appRouterOf } from './trpc.ts'

/**
 * An access token for another service, from the caller's own. That service cannot use it here: every procedure
 * takes this service's own audience alone.
 */
const exchange = liveProcedure
  .input(z.strictObject({ audience: z.string().max(255) }))
  .query(({ ctx, input: { audience } }) => {
    const { config, accessTokens } = ctx.deps
    if (!config.accessTokenAudiences.includes(audience))
      throw invalid('audience: Not one of ACCESS_TOKEN_AUDIENCES.')
    const token = accessTokens.forAudience(audience, ctx.session)
    // Within the tolerated difference of the clocks, an expired token is still accepted.
    if (token === null) throw new AuthError('access_token_expired', 'less than a second is left')
    return { ...token, tokenType: 'Bearer' as const, audience }
  })

export const tokensRouter = appRouterOf({ exchange })
