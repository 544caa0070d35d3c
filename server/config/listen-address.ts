import { once } from 'node:events'
import { createServer } from 'node:net'
import { codeOf } from '../../db/connection/errors.ts'
import { ConfigError } from './config-error.ts'

type ListenAddress = { readonly host: string; readonly port: number }

/**
 * Listens for a moment, to find out early what would be found out late. Somebody may still take the port before we
 * listen in earnest.
 *
 * @throws {ConfigError} naming HOST or PORT
 */
export async function probeAddress(address: ListenAddress): Promise<void> {
  const probe = createServer((caller) => caller.destroy())
  await withListenErrors(address, async () => {
    probe.listen(address)
    await once(probe, 'listening')
  })
  probe.close()
  await once(probe, 'close')
}

/**
 * Runs what listens on the address.
 *
 * @throws {ConfigError} naming HOST or PORT
 */
export async function withListenErrors<T>(
  address: ListenAddress,
  listen: () => Promise<T>,
): Promise<T> {
  try {
    return await listen()
  } catch (error) {
    const problem = problemOf(address, codeOf(error))
    throw problem === null ? error : new ConfigError(problem)
  }
}

function problemOf({ host, port }: ListenAddress, code: string): string | null {
  switch (code) {
    case 'EADDRINUSE':
      return `PORT: ${port} is in use; set another, such as PORT=${port < 65_535 ? port + 1 : 3000}`
    case 'EACCES':
      return `PORT: ${port} is not for this user; set another, such as PORT=3000`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `HOST: there is no host ${host} (${code}); set another, such as HOST=127.0.0.1`
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
    case 'EINVAL':
      return `HOST: ${host} is no address of this machine (${code}); set another, such as HOST=127.0.0.1`
    default:
      return null
  }
}
