import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { Backoff } from './backoff.ts'
import { askBeforeUse, ConnectionRefused } from './handshake.ts'
import { reach, type Place } from './reach.ts'

export type SocketEvents = {
  /** A connection that was ready is lost. One that the driver has closed is not. */
  readonly onLost: () => void
  /** A statement was not answered in time, and its connection was closed. */
  readonly onSilence: () => void
}

type Options = {
  readonly backoff: Backoff
  /** Where the database is; tried in this order. */
  readonly places: readonly Place[]
  /** With several places: rejects when this one would refuse the connection, as a standby does. */
  readonly probe?: (place: Place) => Promise<unknown>
  /** What a new connection is asked, and whether its answer will do: see `askBeforeUse`. */
  readonly query: string
  readonly check: (row: readonly (string | null)[]) => void
  /** Longer than any statement may run; null waits without limit. */
  readonly answerWithinMs: number | null
  readonly events: SocketEvents
}

/** Nothing was sent. */
const poolEnded = () => new ConnectionRefused('CONNECTION_ENDED', 'the pool has ended')

/** An attempt to connect that takes longer has failed; callers are answered within three seconds. */
const connectWithinMs = 2_800

export type Sockets = {
  /** Opens one for the driver, ready for its first message. */
  open(): Promise<Duplex>
  /** Destroys those that are open or being opened, and opens no further one. */
  close(): void
}

/**
 * The sockets of one pool.
 *
 * The driver sees every end of an attempt as an error: after a plain close it would try again at once, without end. It
 * sees none before its first write, because it sends a message that it could not write on its next connection.
 */
export function createSockets(options: Options): Sockets {
  const { backoff, places, probe } = options
  const opened = new Set<Socket>()
  let isClosed = false
  let next = 0

  async function reachAny(deadline: Deadline): Promise<Socket> {
    for (let tries = 1; ; tries++) {
      const place = places[next % places.length]
      if (place === undefined) throw new Error('no host to connect to')
      try {
        // The driver cannot change places once it has a socket.
        if (places.length > 1) await probe?.(place)
        return await reach(place, (socket) => deadline.watch(socket))
      } catch (error) {
        if (deadline.isOver()) throw deadline.error
        next += 1
        if (tries === places.length) throw error
      }
    }
  }

  async function open(): Promise<Duplex> {
    const refusal = isClosed ? poolEnded() : backoff.ask()
    if (refusal !== null) return new FailedSocket(refusal)
    const deadline = startDeadline()
    const abandon = () => {
      deadline.clear()
      backoff.abandoned()
    }
    const fail = (error: Error) => {
      // What ends with the pool says nothing about the server.
      if (isClosed) return abandon()
      deadline.clear()
      backoff.failed(error)
    }
    try {
      const socket = await reachAny(deadline)
      if (isClosed) {
        socket.destroy()
        throw poolEnded()
      }
      deadline.watch(socket)
      opened.add(socket)
      socket.once('close', () => opened.delete(socket))
      supervise(socket, options, {
        succeed() {
          deadline.clear()
          backoff.succeeded()
        },
        fail(error) {
          next += 1
          fail(error)
        },
        abandon,
      })
      return socket
    } catch (error) {
      fail(error as Error)
      return new FailedSocket(error as Error)
    }
  }

  return {
    open,
    close() {
      isClosed = true
      // One that the driver has ended still sends its last message, and Postgres closes it.
      for (const socket of opened) if (!socket.writableEnded) socket.destroy()
    },
  }
}

type Outcome = { succeed(): void; fail(error: Error): void; abandon(): void }

/** Leads the socket through the handshake, and reports how it goes from then on. */
function supervise(socket: Socket, options: Options, outcome: Outcome): void {
  const { query, check, answerWithinMs, events } = options
  let isReady = false
  let isEndedByDriver = false
  let failure: Error = new ConnectionRefused('CONNECT_CLOSED', 'the server closed the connection')

  socket.on('error', (error) => (failure = error))
  socket.once('end', () => socket.destroy(isReady ? undefined : failure))
  socket.once('close', () => {
    if (isReady && !isEndedByDriver) events.onLost()
    if (isReady) return
    if (isEndedByDriver) outcome.abandon()
    else outcome.fail(failure)
  })
  before(socket, 'end', () => (isEndedByDriver = true))
  before(socket, 'write', () => {
    if (!isReady && socket.isPaused()) socket.resume()
  })
  askBeforeUse(socket, {
    query,
    check,
    onRefused: (error) => (failure = error),
    onReady() {
      isReady = true
      outcome.succeed()
    },
  })
  if (answerWithinMs !== null) expectAnswers(socket, answerWithinMs, events.onSilence)
}

/**
 * Destroys the socket when nothing is received for too long after a write. When the network or the machine fails
 * silently, TCP reports it only after about 15 minutes. Until then the statement would wait, and every caller behind it.
 */
function expectAnswers(socket: Socket, withinMs: number, onSilence: () => void): void {
  let unanswered: NodeJS.Timeout | undefined
  const stop = () => {
    clearTimeout(unanswered)
    unanswered = undefined
  }
  const onTimeout = () => {
    socket.destroy(Object.assign(new Error('Postgres does not answer'), { code: 'ETIMEDOUT' }))
    onSilence()
  }
  before(socket, 'write', () => (unanswered ??= setTimeout(onTimeout, withinMs)))
  socket.on('data', stop)
  socket.once('close', stop)
}

function before(socket: Socket, method: 'write' | 'end', act: () => void): void {
  const original = socket[method].bind(socket) as (...args: unknown[]) => unknown
  Object.assign(socket, {
    [method]: (...args: unknown[]) => {
      act()
      return original(...args)
    },
  })
}

type Deadline = {
  readonly error: Error
  /** Destroys this socket, and no earlier one, when time is up. */
  watch(socket: Socket): void
  isOver(): boolean
  clear(): void
}

function startDeadline(): Deadline {
  const error = new ConnectionRefused('CONNECT_TIMEOUT', 'no answer from the server')
  let watched: Socket | null = null
  let isOver = false
  const timer = setTimeout(() => {
    isOver = true
    watched?.destroy(error)
  }, connectWithinMs)
  return {
    error,
    watch: (socket) => (watched = socket),
    isOver: () => isOver,
    clear: () => clearTimeout(timer),
  }
}

/** Stands for a socket that could not be opened. It fails at the first write. */
class FailedSocket extends Duplex {
  readonly #error: Error

  constructor(error: Error) {
    super()
    this.#error = error
  }

  override _read(): void {}

  override _write(_chunk: unknown, _encoding: BufferEncoding, done: (error: Error) => void): void {
    done(this.#error)
  }
}
