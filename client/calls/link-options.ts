import type { HTTPBatchLinkOptions, TRPCLink } from '@trpc/client'
import type { AnyRouter } from '@trpc/server'
import type { AuthClient } from '../public-types.ts'
import type { Target } from '../options.ts'

type Types<Router extends AnyRouter> = Router['_def']['_config']['$types']

/** `transformer` is required by the types where the router has one, and refused where it has none. */
export type LinkOptions<Router extends AnyRouter> = {
  /** The tRPC endpoint of another service, whose origin is in the client's `origins`. */
  readonly url?: string
} & Pick<HTTPBatchLinkOptions<Types<Router>>, 'transformer'>

/** A router without a transformer, such as the service's own. */
export type PlainRouter = AnyRouter & {
  readonly _def: { readonly _config: { readonly $types: { readonly transformer: false } } }
}

/** Makes a link. The options may be left out where none of them is required. */
export type MakeLink = {
  <Router extends PlainRouter>(auth: AuthClient): TRPCLink<Router>
  <Router extends AnyRouter>(auth: AuthClient, options: LinkOptions<Router>): TRPCLink<Router>
}

/** What a link is made of, whatever its router. */
export type AnyLinkOptions = { readonly url?: string; readonly transformer?: unknown }

/** @throws {AuthClientError} `origin_not_configured` */
export function endpointOf({ settings }: AuthClient, url: string | undefined): Target {
  return settings.resolve(url ?? `${settings.baseUrl}/trpc`)
}
