import type { FastifyInstance } from 'fastify'

/** Further apart than clocks that are set over the network ever are. */
const warnMs = 5_000
/** As far apart as verifiers tolerate. */
const farMs = 30_000

/**
 * Warns once when the clock of this host and that of the database begin to differ. Everything that the service decides
 * goes by the database's clock; verifiers in other services go by their own.
 *
 * @param databaseNow epoch milliseconds
 * @returns whether the clocks differ by more than verifiers tolerate
 */
export function watchHostClock(
  app: FastifyInstance,
  databaseNow: () => number,
  everyMs = 5_000,
): () => boolean {
  const aheadMs = () => Math.round(Date.now() - databaseNow())
  let isReported = false
  const look = () => {
    const ahead = aheadMs()
    const isOff = Math.abs(ahead) > warnMs
    if (isOff && !isReported)
      app.log.warn({ aheadMs: ahead }, 'the clock of this host differs from that of the database')
    isReported = isOff
  }
  look()
  const timer = setInterval(look, everyMs).unref()
  app.addHook('onClose', async () => clearInterval(timer))
  return () => Math.abs(aheadMs()) > farMs
}
