import { once } from 'node:events'
import { createConnection, createServer, type NetConnectOpts, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** A wire between two parties that a test can cut. */
export type Proxy = AsyncDisposable & {
  readonly port: number
  /** Breaks every connection and takes no new one, until `mend`. */
  cut(): void
  /** Breaks every connection; new ones are taken. */
  snap(): void
  /** New connections get through again, and at once; those that lost packets stay as they are. */
  mend(): void
  /** From now on nothing that the target says gets through; what is said to it does, and that it hangs up. */
  swallow(): void
  /** Packets that way get lost, on connections there are and on new ones, and neither end is told. */
  lose(what: Lost): void
  /** Every packet takes this much longer, each way. */
  delay(ms: number): void
}

/** What is said to the target, what it answers, or both. */
export type Lost = 'requests' | 'answers' | 'both'

/** When Postgres notices by itself: TCP's keep-alive as `db/connection/connect.ts` sets it. */
const keepAliveMs = 14_000

export async function startProxy(target: NetConnectOpts): Promise<Proxy> {
  const open = new Set<Socket>()
  const lines = new Set<Line>()
  const loseNow = (line: Line, what: Lost) => {
    line.lost = what
    setTimeout(() => line.far.destroy(), keepAliveMs).unref()
  }
  let isCut = false
  let lost: Lost | null = null
  let delayMs = 0
  let isSwallowing = false
  const server = createServer({ allowHalfOpen: true }, (near) => {
    if (isCut) {
      near.resetAndDestroy()
      return
    }
    const far = createConnection(target)
    const line: Line = { far, lost: null }
    lines.add(line)
    if (lost !== null) loseNow(line, lost)
    // A line that loses packets loses the answer to hanging up as well.
    near.on('end', () => {
      if (line.lost === null) near.end()
    })
    const loses = (what: Lost) => line.lost === what || line.lost === 'both'
    carry(near, far, () => (loses('requests') ? null : delayMs))
    carry(far, near, () => (loses('answers') || isSwallowing ? null : delayMs))
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        open.delete(one)
        lines.delete(line)
        if (line.lost === null) other.destroy()
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
    for (const line of lines) loseNow(line, what)
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
    async [Symbol.asyncDispose]() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}

/** One connection through the wire; once it has lost packets, it is lost, and neither end hears of the other's. */
type Line = { readonly far: Socket; lost: Lost | null }

/** Hands on what `from` says, in order, after the delay of the moment; null loses it. */
function carry(from: Socket, to: Socket, delayNow: () => number | null): void {
  let last: Promise<unknown> | null = null
  from.on('data', (chunk) => {
    const delayMs = delayNow()
    if (delayMs === null) return
    if (delayMs === 0 && last === null) {
      to.write(chunk)
      return
    }
    const before = last
    const mine = Promise.all([before, sleep(delayMs)]).then(() => {
      if (!to.destroyed) to.write(chunk)
      if (last === mine) last = null
    })
    last = mine
  })
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
