import { once } from 'node:events'
import { createConnection, createServer, type NetConnectOpts, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** A TCP connection between two parties that a test can disturb. */
export type Wire = AsyncDisposable & {
  readonly port: number
  /** Breaks every connection and accepts no new one until `mend`. */
  cut(): void
  /** Breaks every connection; new ones are accepted. */
  snap(): void
  /** New connections get through again without delay; those that lost packets stay silent. */
  mend(): void
  /** From now on no data of the target gets through; data to the target does, and so does the end of a connection. */
  swallow(): void
  /** Packets in that direction get lost, on open and on new connections, and neither end notices. */
  lose(what: Lost): void
  /** Every packet takes this much longer, in each direction. */
  delay(ms: number): void
  /** Packets wait, in both directions. @returns what lets them go on, in their order */
  hold(): () => void
}

/** The packets to the target, the packets from it, or both. */
export type Lost = 'requests' | 'answers' | 'both'

/** When Postgres notices by itself: TCP keep-alive as `db/connection/connect.ts` sets it. */
const keepAliveMs = 14_000

export async function startWire(target: NetConnectOpts): Promise<Wire> {
  const open = new Set<Socket>()
  const connections = new Set<Connection>()
  const loseNow = (connection: Connection, what: Lost) => {
    connection.lost = what
    setTimeout(() => connection.far.destroy(), keepAliveMs).unref()
  }
  let isCut = false
  let lost: Lost | null = null
  let delayMs = 0
  let held: Promise<void> | null = null
  let isSwallowing = false
  const server = createServer({ allowHalfOpen: true }, (near) => {
    if (isCut) {
      near.resetAndDestroy()
      return
    }
    const far = createConnection(target)
    const connection: Connection = { far, lost: null }
    connections.add(connection)
    if (lost !== null) loseNow(connection, lost)
    // A connection that loses packets also loses the acknowledgement of its end.
    near.on('end', () => {
      if (connection.lost === null) near.end()
    })
    const loses = (what: Lost) => connection.lost === what || connection.lost === 'both'
    const passing = { delayMs: () => delayMs, held: () => held }
    carry(near, far, { ...passing, isLost: () => loses('requests') })
    carry(far, near, { ...passing, isLost: () => loses('answers') || isSwallowing })
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        open.delete(one)
        connections.delete(connection)
        if (connection.lost === null) other.destroy()
      })
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const snap = () => {
    for (const socket of open) socket.destroy()
  }
  const cut = () => {
    isCut = true
    snap()
  }
  const lose = (what: Lost) => {
    lost = what
    for (const connection of connections) loseNow(connection, what)
  }
  return {
    port: (server.address() as { port: number }).port,
    cut,
    snap,
    mend: () => {
      isCut = false
      lost = null
      delayMs = 0
    },
    swallow: () => {
      isSwallowing = true
    },
    lose,
    delay: (ms) => {
      delayMs = ms
    },
    hold: () => {
      let letGo = () => {}
      held = new Promise((resolve) => (letGo = resolve))
      return () => {
        held = null
        letGo()
      }
    },
    async [Symbol.asyncDispose]() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}

/** One connection through the wire. Once it has lost packets, neither end learns that the other has closed. */
type Connection = { readonly far: Socket; lost: Lost | null }

type Passing = {
  readonly isLost: () => boolean
  readonly delayMs: () => number
  readonly held: () => Promise<void> | null
}

/** Passes the data of `from` on in order, unless it is lost: after the current delay, and once it is no longer held. */
function carry(from: Socket, to: Socket, { isLost, delayMs, held }: Passing): void {
  let last: Promise<unknown> | null = null
  from.on('data', (chunk) => {
    if (isLost()) return
    if (delayMs() === 0 && held() === null && last === null) {
      to.write(chunk)
      return
    }
    const mine = Promise.all([last, sleep(delayMs()), held()]).then(() => {
      if (!to.destroyed) to.write(chunk)
      if (last === mine) last = null
    })
    last = mine
  })
}

/** A wire to the Postgres of `databaseUrl`, and the URL that leads through it. */
export async function startDatabaseWire(
  databaseUrl: string,
): Promise<Wire & { readonly url: string }> {
  const url = new URL(databaseUrl)
  // The embedded Postgres listens on a socket in a folder, which the URL gives as its host.
  const host = decodeURIComponent(url.hostname).replace(/,$/, '')
  const port = Number(url.port || 5432)
  const wire = await startWire(
    host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port },
  )
  const { username, password, pathname } = url
  const login = password === '' ? username : `${username}:${password}`
  return { ...wire, url: `postgres://${login}@127.0.0.1:${wire.port}${pathname}` }
}
