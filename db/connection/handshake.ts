import type { Socket } from 'node:net'

/** Why a connection cannot be used. The code says that the database is unavailable: see `isUnavailable`. */
export class ConnectionRefused extends Error {
  override readonly name = 'ConnectionRefused'
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

type Handshake = {
  /** One statement. It is sent when Postgres has let the login in. */
  readonly query: string
  /** @throws when the connection may not be used; the driver's statement fails with that error */
  readonly check: (row: readonly (string | null)[]) => void
  /** Postgres refused the login, or the statement. It closes the connection, or this function does. */
  readonly onRefused: (error: ConnectionRefused) => void
  readonly onReady: () => void
}

const [dataRow, errorResponse, readyForQuery] = ['D', 'E', 'Z'].map((type) => type.charCodeAt(0))

/**
 * Asks a new connection a question before the driver may use it. The driver gets everything but the question's answer,
 * and learns that the connection is ready (ReadyForQuery) after it. From then on it reads the socket by itself.
 *
 * @see https://www.postgresql.org/docs/17/protocol-message-formats.html
 */
export function askBeforeUse(socket: Socket, handshake: Handshake): void {
  const { query, check, onRefused, onReady } = handshake
  const toDriver = socket.push.bind(socket)
  let received = Buffer.alloc(0)
  let isAsked = false
  let row: readonly (string | null)[] | null = null

  function receive(message: Buffer): void {
    const [type] = message
    if (type === errorResponse) onRefused(refusalOf(message))
    if (!isAsked && type !== readyForQuery) return void toDriver(message)
    if (!isAsked) {
      isAsked = true
      socket.write(queryMessage(query))
    } else if (type === dataRow) {
      row = columnsOf(message)
    } else if (type === errorResponse) {
      socket.destroy(refusalOf(message))
    } else if (type === readyForQuery) {
      finish(message)
    }
  }

  function finish(message: Buffer): void {
    try {
      check(row ?? [])
    } catch (error) {
      socket.destroy(error as Error)
      return
    }
    onReady()
    socket.push = toDriver
    toDriver(Buffer.concat([message, received]))
    received = Buffer.alloc(0)
  }

  socket.push = (chunk: Buffer | null) => {
    if (chunk === null) return toDriver(null)
    received = Buffer.concat([received, chunk])
    while (received.length >= 5 && received.length > received.readUInt32BE(1)) {
      const length = 1 + received.readUInt32BE(1)
      const message = received.subarray(0, length)
      received = received.subarray(length)
      receive(message)
    }
    return true
  }
}

function queryMessage(query: string): Buffer {
  const text = Buffer.from(`${query}\0`)
  const head = Buffer.from('Q\0\0\0\0')
  head.writeUInt32BE(text.length + 4, 1)
  return Buffer.concat([head, text])
}

function columnsOf(message: Buffer): (string | null)[] {
  let at = 7
  return Array.from({ length: message.readUInt16BE(5) }, () => {
    const length = message.readInt32BE(at)
    at += 4
    if (length < 0) return null
    at += length
    return message.toString('utf8', at - length, at)
  })
}

function refusalOf(message: Buffer): ConnectionRefused {
  const fields = message.toString('utf8', 5).split('\0')
  const field = (type: string) => fields.find((text) => text.startsWith(type))?.slice(1) ?? ''
  return new ConnectionRefused(field('C'), field('M'))
}
