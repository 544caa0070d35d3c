import { once } from 'node:events'
import { createServer } from 'node:net'
import { ConfigError } from './config-error.ts'
import { systemErrorCode } from './system-error.ts'

type ListenAddress = {
  readonly host: string
  readonly port: number
  /** The variable that sets the port. Default: PORT. */
  readonly variable?: 'PORT' | 'METRICS_PORT'
}

/**
 * Listens briefly, so that an unusable address is reported before the embedded database is created. Another
 * process may still take the port before the service listens.
 *
 * @throws {ConfigError} that names HOST or PORT
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
 * Runs `listen`, which listens on the address.
 *
 * @throws {ConfigError} that names HOST or the variable of the port
 */
export async function withListenErrors<T>(
  address: ListenAddress,
  listen: () => Promise<T>,
): Promise<T> {
  try {
    return await listen()
  } catch (error) {
    const problem = problemOf(address, systemErrorCode(error))
    throw problem === null ? error : new ConfigError(problem)
  }
}

function problemOf({ host, port, variable = 'PORT' }: ListenAddress, code: string): string | null {
  switch (code) {
    case 'EADDRINUSE':
      return `${variable}: ${port} is in use; set another, such as ${variable}=${port < 65_535 ? port + 1 : 3000}`
    case 'EACCES':
      return `${variable}: this user may not listen on ${port}; set another, such as ${variable}=3000`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `HOST: ${host} cannot be resolved (${code}); set another, such as HOST=127.0.0.1`
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
    case 'EINVAL':
      return `HOST: ${host} is not an address of this machine (${code}); set another, such as HOST=127.0.0.1`
    default:
      return null
  }
}
