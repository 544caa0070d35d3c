import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { benchSecret } from './fleet.ts'
import type { Job, JobResult, BenchSession } from './load.ts'

/** `ceiling` makes no database call; `one-by-one` uses a transaction for each rotation. */
export type ServerKind = 'full' | 'one-by-one' | 'ceiling'

export type Server = { readonly url: string; readonly child: Child }

export type LoadGenerator = {
  /** Hands sessions to the load generator, which keeps their newest tokens from then on. */
  enlist(fleet: string, sessions: readonly BenchSession[]): Promise<void>
  run(job: Job): Promise<JobResult>
  readonly child: Child
}

/** A process that answers calls; it ends with the benchmark. */
export type Child = {
  readonly pid: number
  call(command: string, payload?: unknown): Promise<any>
  stop(): Promise<void>
}

export async function startBenchServer(
  kind: ServerKind,
  { databaseUrl, port }: { databaseUrl: string; port: number },
): Promise<Server> {
  const url = `http://127.0.0.1:${port}`
  const child = start('server-process.ts', {
    NODE_ENV: 'production',
    DATABASE_URL: databaseUrl,
    DATABASE_WITHOUT_TLS: 'allow',
    SUPERUSER_DATABASE_LOGIN: 'allow',
    AUTH_SECRET: benchSecret,
    PUBLIC_URL: url,
    PORT: String(port),
    BENCH_SERVER: kind,
  })
  await child.call('start')
  return { url, child }
}

export function startLoad(): LoadGenerator {
  const child = start('load-process.ts', {})
  return {
    child,
    enlist: (fleet, sessions) => child.call('enlist', { fleet, sessions }),
    run: (job) => child.call('run', job),
  }
}

/** A process that sends the SQL of a rotation, without HTTP and without signing. */
export async function startStore(databaseUrl: string): Promise<LoadGenerator> {
  const child = start('store-process.ts', { DATABASE_URL: databaseUrl, AUTH_SECRET: benchSecret })
  return {
    child,
    enlist: (fleet, sessions) => child.call('enlist', { fleet, sessions }),
    run: (job) => child.call('run', job),
  }
}

function start(script: string, env: Record<string, string>): Child {
  const path = fileURLToPath(new URL(script, import.meta.url))
  const child = fork(path, [], {
    execArgv: ['--import', 'tsx', '--expose-gc'],
    env: { PATH: process.env.PATH, ...env },
    serialization: 'advanced',
  })
  const waiting = new Map<number, { resolve: (v: any) => void; reject: (e: Error) => void }>()
  child.on('message', ({ id, result, error }: { id: number; result: unknown; error?: string }) => {
    const call = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) call?.resolve(result)
    else call?.reject(new Error(error))
  })
  child.on('exit', (code) => {
    for (const { reject } of waiting.values()) reject(new Error(`${script} ended: ${code}`))
  })
  let lastId = 0
  return {
    pid: child.pid!,
    call: (command, payload) =>
      new Promise((resolve, reject) => {
        const id = ++lastId
        waiting.set(id, { resolve, reject })
        child.send({ id, command, payload })
      }),
    stop: () => end(child),
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

/** Answers the calls of the process that started this one. */
export function answerCalls(answers: Record<string, (payload: any) => unknown>): void {
  process.on('message', ({ id, command, payload }: any) => {
    Promise.resolve()
      .then(() => answers[command]!(payload))
      .then(
        (result) => process.send!({ id, result }),
        (error: unknown) =>
          process.send!({ id, error: error instanceof Error ? error.stack : String(error) }),
      )
  })
  process.on('disconnect', () => process.exit())
}

/** Seconds of CPU a process has used so far; NaN where there is no /proc. */
export function cpuSecondsOf(pid: number): number {
  return statOf(pid)?.cpuSeconds ?? Number.NaN
}

/** Seconds of CPU of Postgres and of all its processes, including ended ones. */
export function postgresCpuSeconds(dataDir: string): number {
  const lock = join(dataDir, 'postgres', 'cluster', 'postmaster.pid')
  const postmaster = Number(readFileSync(lock, 'utf8').split('\n')[0])
  const own = statOf(postmaster)
  if (own === null) return Number.NaN
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => statOf(Number(name)))
    .filter((stat) => stat?.parent === postmaster)
    .reduce((sum, stat) => sum + stat!.cpuSeconds, own.cpuSeconds + own.childrenCpuSeconds)
}

/** Linux counts in hundredths of a second (`getconf CLK_TCK`). */
const ticksPerSecond = 100

function statOf(pid: number) {
  try {
    // After the name, which may hold any character: state, parent, … (proc_pid_stat(5)).
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    const ticks = (...at: number[]) => at.reduce((sum, i) => sum + Number(fields[i]), 0)
    return {
      parent: Number(fields[1]),
      cpuSeconds: ticks(11, 12) / ticksPerSecond,
      childrenCpuSeconds: ticks(13, 14) / ticksPerSecond,
    }
  } catch {
    return null
  }
}
