import { once } from 'node:events'
import { isIP, Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { ConnectionRefused } from './handshake.ts'

/** A Postgres, as a connection string names it. */
export type Place = {
  readonly host: string
  readonly port: number
  /** Of a Unix socket, which is never encrypted. */
  readonly path: string | null
  /** `prefer`: encrypted if the server can, whatever its certificate. */
  readonly ssl: false | 'prefer' | ConnectionOptions
  readonly isDirectTls: boolean
}

/**
 * Opens a socket to Postgres, encrypted if `place` says so. It is paused: neither data nor the
 * other end's close are seen before it is resumed.
 *
 * @param onSocket gets the socket first, so that the caller can end an attempt that takes too long
 */
export async function reach(place: Place, onSocket: (socket: Socket) => void): Promise<Socket> {
  const { host, port, path, ssl } = place
  const socket = new Socket({ allowHalfOpen: true })
  onSocket(socket)
  socket.pause()
  // A connection that listens may write nothing for hours: TCP keepalive checks the other end meanwhile.
  socket.setKeepAlive(true, 5_000)
  try {
    if (path === null) socket.connect(port, host)
    else socket.connect(path)
    await once(socket, 'connect')
    return path === null && ssl !== false ? await encrypted(socket, place) : socket
  } catch (error) {
    socket.destroy()
    throw error
  }
}

/** The SSLRequest message. Postgres answers with one byte: S, or N if it has no TLS. */
const sslRequest = Buffer.from('0000000804d2162f', 'hex')

async function encrypted(plain: Socket, { host, ssl, isDirectTls }: Place): Promise<Socket> {
  if (!isDirectTls) {
    plain.write(sslRequest)
    const answer = await readOnce(plain)
    if (answer === 'N' && ssl === 'prefer') return plain
    if (answer !== 'S') throw new ConnectionRefused('CONNECT_TLS', 'the server has no TLS')
  }
  const socket = connectTls({
    socket: plain,
    host,
    ...(isIP(host) === 0 && { servername: host }),
    ...(isDirectTls && { ALPNProtocols: ['postgresql'] }),
    ...(ssl === 'prefer' ? { rejectUnauthorized: false } : ssl),
  })
  await once(socket, 'secureConnect')
  socket.pause()
  return socket
}

async function readOnce(socket: Socket): Promise<string> {
  socket.resume()
  const [chunk] = (await Promise.race([once(socket, 'data'), once(socket, 'end')])) as [Buffer?]
  socket.pause()
  return chunk === undefined ? '' : chunk.toString('latin1')
}
