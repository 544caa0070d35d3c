import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Cluster } from './cluster.ts'
import { freePort } from './server.ts'
import { waitFor } from './wait.ts'

const program = '/usr/sbin/pgbouncer'

export const hasPgBouncer = existsSync(program)

if (!hasPgBouncer && process.env.CI === 'true')
  throw new Error('NO PGBOUNCER: install it (apt-get install pgbouncer)')

/** A pooler in front of the cluster, with these lines in its configuration. Every login is the superuser's. */
export async function startPgBouncer(
  cluster: Cluster,
  lines: Readonly<Record<string, string>>,
): Promise<AsyncDisposable & { url(database: string): string }> {
  const folder = mkdtempSync(join(tmpdir(), 'token-ledger-pgbouncer-'))
  const port = await freePort()
  const file = join(folder, 'pgbouncer.ini')
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: String(port),
    auth_type: 'any',
    unix_socket_dir: '',
    ...lines,
  }
  writeFileSync(
    file,
    [
      '[databases]',
      `* = host=127.0.0.1 port=${cluster.port} user=postgres`,
      '[pgbouncer]',
      ...Object.entries(settings).map(([name, value]) => `${name} = ${value}`),
    ].join('\n'),
  )
  // It refuses to run as root.
  const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
  if (user.uid !== undefined) {
    chownSync(folder, user.uid, user.gid)
    chownSync(file, user.uid, user.gid)
  }
  const child = spawn(program, [file], { ...user, stdio: 'ignore' })
  const exited = once(child, 'exit')
  await waitFor(() => canConnect(port), 'PgBouncer listens')
  return {
    url: (database) => `postgres://postgres@127.0.0.1:${port}/${database}`,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await exited
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function canConnect(port: number): Promise<boolean> {
  const socket = createConnection(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
