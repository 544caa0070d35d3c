import { spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { socketPort } from './client.ts'
import type { PostgresFiles } from './files.ts'
import { postgresEnvironment } from './platform.ts'
import { socketFolders } from './socket-folder.ts'

/** One run of the main process of Postgres. */
export type Postmaster = {
  readonly pid: Promise<number>
  /** Resolves once it has exited, with its exit code and its last log lines. */
  readonly ended: Promise<string>
  hasEnded(): boolean
  /** Asks the guard for a fast shutdown. The guard also does this when this process exits. */
  release(): void
  /** For a Postgres that does not stop. The next start then runs crash recovery. */
  quit(): void
}

// The parent process of Postgres. It reads a pipe from this process on descriptor 3. When the pipe closes, because of
// `release` or because this process has died, it sends SIGINT to Postgres once a second: a signal sent before Postgres
// has installed its handler is lost. Apart from `sleep` it uses shell built-ins only, so a minimal PATH is enough.
const guard = `
"$@" 3<&- & postmaster=$!
echo $postmaster
exec >/dev/null
{ while read -r _ <&3; do :; done; while kill -INT $postmaster; do sleep 1; done; } 2>/dev/null &
wait $postmaster; code=$?
kill $!
exit $code
`

// Enough for an error of Postgres with its detail and hint.
const tailLines = 6
const lastLinesMs = 250

export function spawnPostmaster(
  files: PostgresFiles,
  settings: Readonly<Record<string, string>>,
  log: (line: string) => void,
): Postmaster {
  const parameters = {
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_checkpoints: 'off',
    // The text and detail of a failed statement contain e-mail addresses and hashes. The client gets them anyway.
    log_min_error_statement: 'panic',
    log_error_verbosity: 'terse',
    ...settings,
    listen_addresses: '',
    unix_socket_directories: socketFolders(files.socketFolder)
      .map((folder) => `"${folder}"`)
      .join(),
    unix_socket_permissions: '0700',
    port: String(socketPort(files)),
  }
  const command = [files.program, '-D', files.cluster].concat(
    Object.entries(parameters).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  )
  // A session of its own: Ctrl-C in a terminal must reach only the service, which needs the database to drain.
  const child = spawn('/bin/sh', ['-c', guard, 'embedded-postgres-guard', ...command], {
    ...files.runAs,
    cwd: files.cluster,
    env: postgresEnvironment,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  })
  const tail: string[] = []
  let over = false
  const lines = readLines(child.stderr).on('line', (line) => {
    tail.push(line)
    if (tail.length > tailLines) tail.shift()
    log(line)
  })
  const allRead = new Promise((resolve) => lines.once('close', resolve))
  const pid = new Promise<number>((resolve) => {
    readLines(child.stdout).once('line', (line) => resolve(Number(line)))
  })
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(`exit ${code ?? signal}`))
  }).then(async (exit) => {
    over = true
    // The last log lines may still be in the pipe. The wait is bounded, because if only the guard has died, Postgres
    // keeps the pipe open.
    await Promise.race([allRead, sleep(lastLinesMs)])
    return [exit, ...tail].join(' | ')
  })
  const pipe = child.stdio[3]
  return {
    pid,
    ended,
    hasEnded: () => over,
    release: () => pipe?.destroy(),
    quit: () => void pid.then((id) => process.kill(id, 'SIGQUIT')).catch(() => {}),
  }
}

function readLines(stream: Readable | null): Interface {
  if (stream === null) throw new Error('spawned without a pipe')
  return createInterface({ input: stream })
}
