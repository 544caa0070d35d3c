import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseAddress } from './address.ts'

/** Warns once of each way in which a proxy leaves the service without the addresses of its callers. */
export function warnAboutProxies(app: FastifyInstance): void {
  let isUntrustedKnown = false
  let isUnreadableKnown = false
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.headers['x-forwarded-for'] !== undefined) warn(request)
    done()
  })

  function warn(request: FastifyRequest): void {
    // The first of `ips` is the peer. Without a second one, its header was not believed.
    if (!isUntrustedKnown && (request.ips?.length ?? 1) < 2) {
      isUntrustedKnown = true
      const peer = { ip: parseAddress(request.ip) }
      app.log.warn(peer, 'X-Forwarded-For ignored: TRUSTED_PROXIES does not name its sender')
    }
    if (!isUnreadableKnown && parseAddress(request.ip) === null) {
      isUnreadableKnown = true
      app.log.warn({ ip: null }, 'the address of a caller could not be read')
    }
  }
}
