import { once } from 'node:events'
import { createConnection, createServer, type NetConnectOpts, type Socket } from 'node:net'

/** A wire between two parties that a test can cut. */
export type Proxy = AsyncDisposable & {
  readonly port: number
  /** Breaks every connection and takes no new one, until `mend`. */
  cut(): void
  mend(): void
  /** From now on nothing that the target says gets through; what is said to it does. */
  swallow(): void
}

export async function startProxy(target: NetConnectOpts): Promise<Proxy> {
  const open = new Set<Socket>()
  let isCut = false
  let isSwallowing = false
  const server = createServer((near) => {
    if (isCut) {
      near.resetAndDestroy()
      return
    }
    const far = createConnection(target)
    far.on('data', (chunk) => {
      if (!isSwallowing) near.write(chunk)
    })
    near.pipe(far)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        open.delete(one)
        other.destroy()
      })
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    isCut = true
    for (const socket of open) socket.destroy()
  }
  return {
    port: (server.address() as { port: number }).port,
    cut,
    mend: () => {
      isCut = false
    },
    swallow: () => {
      isSwallowing = true
    },
    async [Symbol.asyncDispose]() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}

/** A wire to the Postgres of `databaseUrl`, and the URL that goes through it. */
export async function startDatabaseProxy(
  databaseUrl: string,
): Promise<Proxy & { readonly url: string }> {
  const url = new URL(databaseUrl)
  // The embedded one listens on a socket in a folder, which the URL spells as its host.
  const host = decodeURIComponent(url.hostname).replace(/,$/, '')
  const port = Number(url.port || 5432)
  const proxy = await startProxy(
    host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port },
  )
  const { username, password, pathname } = url
  const login = password === '' ? username : `${username}:${password}`
  return { ...proxy, url: `postgres://${login}@127.0.0.1:${proxy.port}${pathname}` }
}
