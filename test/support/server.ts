import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { serviceUrl } from './admin.ts'
import { nodeArguments } from './programs.ts'

/** A service in a process of its own, which a test can kill. */
export type ServerProcess = AsyncDisposable & {
  readonly url: string
  readonly pid: number
  /** Everything it wrote so far to stdout and stderr. */
  output(): string
  /** Resolves with the exit code once the process has ended; null if the signal ended it. */
  kill(signal: NodeJS.Signals): Promise<number | null>
}

/** The secret of services under test: 48 bytes, used nowhere else. */
export const testSecret = 'T7n2kq9Lw4Zr8Xc1Vb6Ms3Hd5Gf0JyPaQeUiOtYzBxNvRm'

/** Opens `/metrics` of services under test, whatever their PUBLIC_URL. */
export const testMetricsToken = 'f3a9c61e8b7d24509e1fa86c3d70b952'

/** Opens `POST /auth/sessions` of services under test. */
export const testSignInToken = 'b81f6d0a4c2e97351d08e6f5a94c7b23'

const startTimeoutMs = 60_000

// Below the ports that systems give to a connection, or to a server that asks for port 0: one of those can be given to
// another program between the look and the listening. Each worker of the tests has a thousand of its own.
const firstPort = 20_000 + 1000 * (Number(process.env.VITEST_POOL_ID ?? 0) % 12)
let nextPort = firstPort + randomInt(1000)

/** A free port of the loopback interface, which no other test is given. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 1000; tries++) {
    const port = nextPort
    nextPort = firstPort + ((port + 1 - firstPort) % 1000)
    if (await isFree(port)) return port
  }
  throw new Error(`all ports from ${firstPort} on are taken`)
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch {
    return false
  }
  server.close()
  await once(server, 'close')
  return true
}

/** Starts `server/main.ts` on this database of the owner, with a login of less rights, and a free port, or `PORT`, and waits until it is ready. */
export async function startServer(
  databaseUrl: string,
  env: Record<string, string> = {},
): Promise<ServerProcess> {
  const port = env.PORT === undefined ? await freePort() : Number(env.PORT)
  const url = env.PUBLIC_URL ?? `http://127.0.0.1:${port}`
  const child = spawn(process.execPath, nodeArguments('server/main.ts'), {
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      DATABASE_URL: serviceUrl(databaseUrl),
      MIGRATION_DATABASE_URL: databaseUrl,
      AUTH_SECRET: testSecret,
      PORT: String(port),
      RATE_LIMITS: 'off',
      METRICS_TOKEN: testMetricsToken,
      SIGN_IN_TOKEN: testSignInToken,
      // Some have a public address, as far as they know.
      PUBLIC_DEVELOPMENT: 'allow',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const exited = once(child, 'exit')
  const own = `http://127.0.0.1:${port}`
  const deadlineAt = Date.now() + startTimeoutMs
  while (!(await isReady(own))) {
    if (child.exitCode !== null || Date.now() > deadlineAt)
      throw new Error(`the server did not start: ${output}`)
    await sleep(50)
  }
  const kill = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    await exited
    return child.exitCode
  }
  return {
    url: env.PUBLIC_URL === undefined ? url : own,
    pid: child.pid!,
    output: () => output,
    kill,
    async [Symbol.asyncDispose]() {
      await kill('SIGTERM')
    },
  }
}

async function isReady(url: string): Promise<boolean> {
  return fetch(`${url}/readyz`).then(
    (response) => response.ok,
    () => false,
  )
}
