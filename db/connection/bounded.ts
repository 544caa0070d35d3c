import type postgres from 'postgres'

/** The pool has as many statements and transactions as it takes. Nothing was sent. */
export class PoolFull extends Error {
  override readonly name = 'PoolFull'
}

/** The driver's query: it calls `handler` once, when its caller awaits it, and never for a fragment. */
type DriverQuery = Promise<unknown> & {
  handler: (query: DriverQuery) => void
  readonly reject: (error: Error) => void
}

type Call = (...args: unknown[]) => unknown

/**
 * The same pool, but a statement or a transaction fails at once while `limit` of them are unfinished. The
 * driver queues any number, and each would wait for all of those before it.
 *
 * Statements inside of a transaction are not counted: the transaction is.
 *
 * @param onError gets what a statement or a transaction failed with
 */
export function bounded(
  pool: postgres.Sql,
  limit: number,
  onError: (error: unknown) => void = () => {},
): postgres.Sql {
  let unfinished = 0
  const full = () => new PoolFull(`${limit} statements or transactions are unfinished`)

  function withLimit(made: unknown): unknown {
    if (!(made instanceof Promise)) return made
    const query = made as DriverQuery
    const send = query.handler
    query.handler = (self) => {
      if (unfinished >= limit) return self.reject(full())
      unfinished += 1
      const settled = () => void (unfinished -= 1)
      void self.then(settled, (error: unknown) => {
        settled()
        onError(error)
      })
      send(self)
    }
    return query
  }

  const begin: Call = async (...args) => {
    if (unfinished >= limit) throw full()
    unfinished += 1
    try {
      return await (pool.begin as Call)(...args)
    } catch (error) {
      onError(error)
      throw error
    } finally {
      unfinished -= 1
    }
  }
  const unsafe: Call = (...args) => withLimit((pool.unsafe as Call)(...args))
  return new Proxy(pool, {
    apply: (_target, self, args) => withLimit(Reflect.apply(pool, self, args)),
    get(_target, key) {
      if (key === 'begin') return begin
      return key === 'unsafe' ? unsafe : (Reflect.get(pool, key) as unknown)
    },
  })
}
