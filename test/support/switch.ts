import { once } from 'node:events'
import { createConnection, createServer, type Socket } from 'node:net'

/** What a server, or something in its place, does with a new connection. */
export type Manner = 'forward' | 'close at once' | 'close after a message' | 'reset' | 'too many'

/** A place that leads to a Postgres, and that a test can point elsewhere, as a name or a load balancer does. */
export type Switch = AsyncDisposable & {
  readonly port: number
  /** For new connections; those that are open stay. */
  pointTo(port: number): void
  behave(manner: Manner): void
  /** Breaks all connections. */
  snap(): void
  /** How many connections were accepted since the last call. */
  countAccepted(): number
}

/** The ErrorResponse of Postgres when `max_connections` is reached. */
const tooMany = (() => {
  const fields = Buffer.from('SFATAL\0VFATAL\0C53300\0Mtoo many connections\0\0')
  const head = Buffer.from('E\0\0\0\0')
  head.writeUInt32BE(fields.length + 4, 1)
  return Buffer.concat([head, fields])
})()

export async function startSwitch(port: number): Promise<Switch> {
  let target = port
  let manner: Manner = 'forward'
  let accepted = 0
  const open = new Set<Socket>()
  const server = createServer((near) => {
    accepted += 1
    near.on('error', () => {})
    if (manner !== 'forward') return refuse(near, manner)
    const far = createConnection(target, '127.0.0.1')
    const end = () => {
      near.destroy()
      far.destroy()
      open.delete(near)
    }
    open.add(near)
    near.on('close', end).pipe(far)
    far.on('error', end).on('close', end).pipe(near)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const snap = () => {
    for (const socket of open) socket.destroy()
  }
  return {
    port: (server.address() as { port: number }).port,
    pointTo: (to) => (target = to),
    behave: (how) => (manner = how),
    snap,
    countAccepted() {
      const count = accepted
      accepted = 0
      return count
    },
    async [Symbol.asyncDispose]() {
      snap()
      server.close()
      await once(server, 'close')
    },
  }
}

function refuse(near: Socket, manner: Exclude<Manner, 'forward'>): void {
  if (manner === 'reset') return void near.resetAndDestroy()
  near.resume()
  if (manner === 'close at once') return void near.end()
  near.once('data', () => near.end(manner === 'too many' ? tooMany : ''))
}
