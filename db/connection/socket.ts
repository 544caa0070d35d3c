import { Socket } from 'node:net'
import { Duplex } from 'node:stream'

/** Where the driver is told to connect to, as it has read the URL. */
export type Target = {
  readonly host: readonly string[]
  readonly port: readonly number[]
  /** Of a unix socket. */
  readonly path?: string | false
  readonly ssl?: unknown
}

/**
 * Opens sockets to Postgres that are given up when what was sent is not answered at all.
 *
 * When the way to Postgres, or its machine, is gone without a word, TCP by itself says so after a
 * quarter of an hour; until then a statement waits, and every caller behind it.
 *
 * @param options.answerWithinMs longer than any statement may take
 * @param options.onSilence called for each that is given up
 */
export function socketsWithTimeout(options: TimeoutOptions): (target: Target) => Duplex {
  let attempts = 0
  return ({ host, port, path, ssl }) => {
    const socket = new ReadTimeoutSocket(options)
    if (path) return socket.connect(path)
    // With several hosts, the next one at each attempt, as the driver does.
    const at = attempts++ % port.length
    const name = host[at] ?? 'localhost'
    socket.connect(port[at] ?? 5432, name)
    // The driver asks the certificate for this name.
    return Object.assign(ssl ? passThrough(socket) : socket, { host: name })
  }
}

type TimeoutOptions = { readonly answerWithinMs: number; readonly onSilence: () => void }

class ReadTimeoutSocket extends Socket {
  readonly #patience: TimeoutOptions
  #unanswered: NodeJS.Timeout | undefined

  constructor(patience: TimeoutOptions) {
    super()
    // Who listens sends nothing for hours: the kernel asks meanwhile whether the other end is there.
    this.setKeepAlive(true, 5_000)
    this.#patience = patience
    this.on('data', () => this.#calm())
    this.once('close', () => this.#calm())
  }

  override _write(chunk: unknown, encoding: BufferEncoding, done: (error?: Error | null) => void) {
    this.#unanswered ??= setTimeout(() => this.#giveUp(), this.#patience.answerWithinMs)
    super._write(chunk, encoding, done)
  }

  #calm(): void {
    clearTimeout(this.#unanswered)
    this.#unanswered = undefined
  }

  #giveUp(): void {
    const error = new Error('Postgres does not answer')
    this.destroy(Object.assign(error, { code: 'ETIMEDOUT' }))
    this.#patience.onSilence()
  }
}

/** The same bytes, for TLS, which would take over a socket's handle and pass its methods by. */
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
