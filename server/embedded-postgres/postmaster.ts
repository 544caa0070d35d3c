import { spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { socketPort } from './client.ts'
import type { PostgresFiles } from './files.ts'
import { postgresEnvironment } from './platform.ts'
import { socketFolders } from './socket-folder.ts'

/** One life of the database's main process. */
export type Postmaster = {
  readonly pid: Promise<number>
  /** Resolves once it is gone, with the last it said. */
  readonly ended: Promise<string>
  hasEnded(): boolean
  /** Fast shutdown by the guard; also what happens by itself when this process is gone. */
  release(): void
  /** For one that does not stop: crash recovery at the next start is the lesser evil. */
  quit(): void
}

// Runs as the parent of Postgres and holds a pipe to us on 3: when that closes, we asked for it or are dead, and
// Postgres is told to stop. Again and again, because a signal before Postgres listens for it is lost. Only built-ins on
// the way there, so a bare PATH does.
const guard = `
"$@" 3<&- & postmaster=$!
echo $postmaster
exec >/dev/null
{ while read -r _ <&3; do :; done; while kill -INT $postmaster; do sleep 1; done; } 2>/dev/null &
wait $postmaster; code=$?
kill $!
exit $code
`

// Enough for Postgres' error, its detail and its hint.
const tailLines = 6
const lastWordsMs = 250

export function spawnPostmaster(
  files: PostgresFiles,
  settings: Readonly<Record<string, string>>,
  log: (line: string) => void,
): Postmaster {
  const parameters = {
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_checkpoints: 'off',
    // A failing statement's text and detail hold e-mail addresses and hashes; who sent it gets them anyway.
    log_min_error_statement: 'panic',
    log_error_verbosity: 'terse',
    ...settings,
    listen_addresses: '',
    unix_socket_directories: socketFolders(files.socketFolder)
      .map((folder) => `"${folder}"`)
      .join(),
    unix_socket_permissions: '0700',
    port: String(socketPort(files.socketFolder)),
  }
  const command = [files.program, '-D', files.cluster].concat(
    Object.entries(parameters).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  )
  // Its own session: the Ctrl-C of a terminal is for us, who still need the database to drain.
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
  const saidAll = new Promise((resolve) => lines.once('close', resolve))
  const pid = new Promise<number>((resolve) => {
    readLines(child.stdout).once('line', (line) => resolve(Number(line)))
  })
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(`exit ${code ?? signal}`))
  }).then(async (how) => {
    over = true
    // Its last words may still be in the pipe; and if only the guard died, Postgres keeps the pipe open.
    await Promise.race([saidAll, sleep(lastWordsMs)])
    return [how, ...tail].join(' | ')
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
