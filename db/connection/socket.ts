import { Socket } from 'node:net'
import { Duplex } from 'node:stream'

/** Where to connect to, as the driver has parsed the URL. */
export type Target = {
  readonly host: readonly string[]
  readonly port: readonly number[]
  /** Of a Unix socket. */
  readonly path?: string | false
  readonly ssl?: unknown
}

/**
 * Opens sockets to Postgres that are destroyed when nothing is received for too long after a write.
 *
 * When the network or the machine fails silently, TCP reports it only after about 15 minutes. Until then
 * the statement would wait, and every caller behind it.
 *
 * @param options.answerWithinMs longer than any statement may run
 * @param options.onSilence called for each socket that is destroyed so
 */
export function socketsWithTimeout(options: TimeoutOptions): (target: Target) => Duplex {
  let attempts = 0
  return ({ host, port, path, ssl }) => {
    const socket = new ReadTimeoutSocket(options)
    if (path) return socket.connect(path)
    // With several hosts, each attempt takes the next one, as the driver's own sockets do.
    const at = attempts++ % port.length
    const name = host[at] ?? 'localhost'
    socket.connect(port[at] ?? 5432, name)
    // The driver checks the certificate against this name.
    return Object.assign(ssl ? passThrough(socket) : socket, { host: name })
  }
}

type TimeoutOptions = { readonly answerWithinMs: number; readonly onSilence: () => void }

class ReadTimeoutSocket extends Socket {
  readonly #options: TimeoutOptions
  #unanswered: NodeJS.Timeout | undefined

  constructor(options: TimeoutOptions) {
    super()
    // A connection that listens may write nothing for hours: TCP keepalive checks the other end meanwhile.
    this.setKeepAlive(true, 5_000)
    this.#options = options
    this.on('data', () => this.#stopTimer())
    this.once('close', () => this.#stopTimer())
  }

  override _write(chunk: unknown, encoding: BufferEncoding, done: (error?: Error | null) => void) {
    this.#unanswered ??= setTimeout(() => this.#onTimeout(), this.#options.answerWithinMs)
    super._write(chunk, encoding, done)
  }

  #stopTimer(): void {
    clearTimeout(this.#unanswered)
    this.#unanswered = undefined
  }

  #onTimeout(): void {
    const error = new Error('Postgres does not answer')
    this.destroy(Object.assign(error, { code: 'ETIMEDOUT' }))
    this.#options.onSilence()
  }
}

/** The same bytes as a plain stream: TLS on a socket takes over its handle, and `_write` would not be called. */
function passThrough(socket: Socket): Duplex {
  const stream = new Duplex({
    read: () => void socket.resume(),
    write: (chunk, encoding, done) => void socket.write(chunk as Buffer, encoding, done),
    final: (done) => void socket.end(done),
    destroy: (error, done) => {
      socket.destroy()
      done(error)
    },
  })
  socket.on('data', (chunk) => {
    if (!stream.push(chunk)) socket.pause()
  })
  socket.once('end', () => stream.push(null))
  socket.once('error', (error) => stream.destroy(error))
  socket.once('close', () => stream.destroy())
  return stream
}
