import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { nodeArguments } from './programs.ts'

export type OwnerProcess = {
  readonly pid: number
  /** Rejects with everything the process wrote to stderr. */
  readonly url: Promise<string>
  stderr(): string
  /** Ends its stdin, which stops it in order. */
  stop(): Promise<void>
  kill(signal: NodeJS.Signals): Promise<void>
}

const script = 'test/support/embedded-postgres-owner.ts'
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href

/** Starts a process that owns an embedded Postgres on this data, in a process group of its own, as a shell does. */
export function startOwner(
  dataDir: string,
  options: {
    /** A copy of the sources. */
    project?: string
    runAs?: { uid: number; gid: number }
  } = {},
): OwnerProcess {
  const { project, runAs } = options
  const program =
    project === undefined ? nodeArguments(script) : ['--import', tsx, join(project, script)]
  const child = spawn(process.execPath, [...program, dataDir], {
    ...runAs,
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const ended = once(child, 'close')
  const url = Promise.race([
    once(createInterface({ input: child.stdout }), 'line').then(([line]) => String(line)),
    ended.then(() => Promise.reject(new Error(stderr))),
  ])
  url.catch(() => {})
  return {
    pid: child.pid!,
    url,
    stderr: () => stderr,
    stop: () => finish(child, () => child.stdin.end()),
    kill: (signal) => finish(child, () => child.kill(signal)),
  }
}

async function finish(child: ChildProcess, endIt: () => void): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  endIt()
  await exited
}

/** All processes that work in the data folder: Postgres, its guard, and their children. */
export function processesOn(dataDir: string): number[] {
  const cluster = join(dataDir, 'postgres', 'cluster')
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`) === cluster
      } catch {
        return false
      }
    })
    .map(Number)
}

export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number)
}

export function postmasterPidIn(dataDir: string): number {
  const lock = join(dataDir, 'postgres', 'cluster', 'postmaster.pid')
  return Number(readFileSync(lock, 'utf8').split('\n')[0])
}

export function isProcessAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return (
      !existsSync(`/proc/${pid}/stat`) || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    )
  } catch {
    return false
  }
}
