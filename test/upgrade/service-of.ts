import { execFile, spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort } from '../support/server.ts'

/** A commit's service and command line, with a Postgres 15 cluster in a temporary folder. */
export type OldService = AsyncDisposable & {
  /** Starts Postgres and the service with their clocks set to this instant, and stops both after `work`. */
  on(instant: string, env: Env, work: (day: Day) => Promise<void>): Promise<void>
}

export type Day = {
  readonly url: string
  /**
   * Runs the commit's command line.
   *
   * @returns its stdout
   * @throws with its stderr, unless it exits with 0
   */
  cli(words: readonly string[], stdin?: string): Promise<string>
  /** The whole database as SQL, from `pg_dump`. */
  dump(): Promise<string>
}

type Env = Readonly<Record<string, string>>

const run = promisify(execFile)
const postgresBin = '/usr/lib/postgresql/15/bin'
const fakeTime = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1'
/** Postgres refuses to run as root. */
const unprivileged = { uid: 65_534, gid: 65_534 }

/**
 * Runs instead of the commit's `server/main.ts`, which reads session lifetimes of one year at most from the environment.
 * `SESSION_MS` sets longer ones.
 */
const program = `
import { buildApp, connect, loadConfig } from './server/app.ts'
import { migrate } from './db/migrate.ts'
const config = loadConfig(process.env)
const sessionMs = Number(process.env.SESSION_MS ?? 0)
const lifetimes = sessionMs > 0 && { refreshIdleMs: sessionMs, refreshAbsoluteMs: sessionMs }
await migrate(config.databaseUrl)
const database = connect(config.databaseUrl, { role: 'token_ledger_app' })
const app = await buildApp({ config: { ...config, ...lifetimes }, database })
await app.listen({ host: config.host, port: config.port })
process.once('SIGTERM', async () => {
  await app.close()
  await database.close()
})
`

/** @param commit in this repository; its dependencies must be those installed here */
export async function serviceOf(commit: string): Promise<OldService> {
  const folder = await mkdtemp(path.join(tmpdir(), 'token-ledger-old-'))
  await chmod(folder, 0o777)
  const tree = path.join(folder, 'tree')
  const cluster = path.join(folder, 'cluster')
  await run('sh', ['-c', `mkdir "$1" && git archive "$0" | tar -x -C "$1"`, commit, tree])
  await symlink(path.resolve('node_modules'), path.join(tree, 'node_modules'))
  await writeFile(path.join(tree, 'serve.ts'), program)
  const initdb = ['-D', cluster, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C']
  await run(`${postgresBin}/initdb`, initdb, { ...unprivileged, cwd: folder })

  async function on(instant: string, env: Env, work: (day: Day) => Promise<void>) {
    // One offset for every process, so that their clocks agree.
    const offsetSeconds = Math.round((Date.parse(instant) - Date.now()) / 1000)
    const clock = {
      LD_PRELOAD: fakeTime,
      FAKETIME: `${offsetSeconds}s`,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    }
    const [postgresPort, port] = [await freePort(), await freePort()]
    const server = `postgres://postgres@127.0.0.1:${postgresPort}`
    const settings = ['-D', cluster, '-p', `${postgresPort}`, '-h', '127.0.0.1', '-k', folder]
    const options = { ...unprivileged, cwd: folder, env: clock, stdio: 'ignore' } as const
    await using _postgres = started(`${postgresBin}/postgres`, settings, options, 'SIGINT')
    await until(() => run(`${postgresBin}/pg_isready`, ['-d', server]))
    await run('psql', ['-d', `${server}/postgres`, '-c', 'create database ledger']).catch(() => {})

    const own = { PATH: process.env.PATH, DATABASE_URL: `${server}/ledger`, PORT: `${port}` }
    const child = { cwd: tree, env: { ...own, ...clock, ...env } }
    const stdio = ['ignore', 'inherit', 'inherit'] as const
    const node = ['--import', 'tsx']
    const spawned = { ...child, stdio: [...stdio] }
    await using _app = started(process.execPath, [...node, 'serve.ts'], spawned, 'SIGTERM')
    const url = `http://127.0.0.1:${port}`
    await until(async () => {
      if (!(await fetch(`${url}/readyz`)).ok) throw new Error('not ready')
    })
    await work({
      url,
      async cli(words, stdin = '') {
        const cli = spawn(process.execPath, [...node, 'server/cli/main.ts', ...words], child)
        cli.stdin.end(stdin)
        const [stdout, stderr, [code]] = await Promise.all([
          text(cli.stdout),
          text(cli.stderr),
          once(cli, 'exit'),
        ])
        if (code !== 0) throw new Error(`${words.join(' ')}: ${stderr}`)
        return stdout
      },
      async dump() {
        const args = ['-d', `${server}/ledger`, '--no-owner', '--inserts', '--rows-per-insert=50']
        const { stdout } = await run(`${postgresBin}/pg_dump`, args)
        // Commands of psql, which a driver cannot run.
        return stdout.replaceAll(/^\\(?:un)?restrict .*\n/gm, '')
      },
    })
  }

  return { on, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) }
}

/** Starts a process. Disposing sends it the signal and waits until it has exited. */
function started(
  command: string,
  args: readonly string[],
  options: SpawnOptions,
  signal: NodeJS.Signals,
): ChildProcess & AsyncDisposable {
  const child = spawn(command, args, options)
  const exited = once(child, 'exit')
  return Object.assign(child, {
    async [Symbol.asyncDispose]() {
      child.kill(signal)
      await exited
    },
  })
}

async function until(isReady: () => Promise<unknown>): Promise<void> {
  for (const deadlineAt = Date.now() + 60_000; ; await sleep(100)) {
    try {
      await isReady()
      return
    } catch (error) {
      if (Date.now() > deadlineAt) throw error
    }
  }
}
