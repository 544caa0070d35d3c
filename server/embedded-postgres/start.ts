import { rmSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { withDataDirErrors } from '../config/data-dir.ts'
import { accepts, createDatabase, postmasterPid, socketUrl } from './client.ts'
import { type PostgresFiles, preparePostgresFiles } from './files.ts'
import { isLockJustMade, removeStaleLocks } from './locks.ts'
import { type Postmaster, spawnPostmaster } from './postmaster.ts'
import { makeSocketFolder, removeSocketFolder } from './socket-folder.ts'

export type EmbeddedPostgresOptions = {
  /** Postgres' files go to the folder `postgres` in it. */
  readonly dataDir: string
  /** Parameters of postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>>
  /** Receives Postgres' own log, line by line. */
  readonly log?: (line: string) => void
  /** Receives what its operator should know: data kept elsewhere, a leftover stopped, a restart. Default: `log`. */
  readonly warn?: (line: string) => void
}

export type EmbeddedPostgres = {
  /** For postgres.js, and for psql as it stands. */
  readonly url: string
  /** Fast shutdown: ends every connection and waits until Postgres is gone. May be called again. */
  stop(): Promise<void>
}

const database = 'token_ledger'

// Crash recovery after a busy day may take minutes on a slow disk.
const startTimeoutMs = 5 * 60_000
// Two starts at one moment: how long the one that came second keeps looking who the other is.
const lockTimeoutMs = 30_000
// Postgres whose owner was just killed is being stopped by its guard: that long before we stop it.
const leftoverGraceMs = 3_000
// A fast shutdown writes what is dirty; that may take a while, but not for ever.
const stopTimeoutMs = 60_000
const longestRestartDelayMs = 30_000
const pollMs = 25

/**
 * Starts the Postgres that comes with the package, on a unix socket and no port, and starts it again if it ends by
 * itself. It does not outlive this process, however this process ends.
 *
 * @throws one line that says what is wrong: the data is in use, of another major version, cannot be started.
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  const { dataDir, settings = {}, log = () => {}, warn = log } = options
  const files = preparePostgresFiles(dataDir, warn)
  const stopping = new AbortController()
  const isStopping = () => stopping.signal.aborted
  let owner: Server | undefined
  let current: Postmaster | undefined

  async function launch(): Promise<void> {
    const lockDeadlineAt = Date.now() + lockTimeoutMs
    for (;;) {
      withDataDirErrors(dataDir, () => makeSocketFolder(files.socketFolder, files.runAs))
      await evictLeftover({ files, warn, isOwner: owner !== undefined })
      if (isStopping()) return
      current = spawnPostmaster(files, settings, log)
      const problem = await Promise.race([current.ended, answering(files, current)])
      if (problem === 'answers') return
      current.release()
      await current.ended
      if (isStopping()) return
      if (!problem.includes('lock file') || Date.now() > lockDeadlineAt) {
        throw new Error(`Postgres did not start: ${problem}`)
      }
      await sleep(pollMs)
    }
  }

  async function keepRunning(): Promise<void> {
    let delayMs = 0
    for (;;) {
      const lastWords = await current?.ended
      current?.release()
      if (isStopping()) return
      warn(`Postgres ended by itself and is started again: ${lastWords}`)
      await sleep(delayMs, undefined, { signal: stopping.signal }).catch(() => {})
      delayMs = await launch().then(
        () => 0,
        (error: unknown) => {
          warn(String(error))
          return Math.min(delayMs * 2 + 500, longestRestartDelayMs)
        },
      )
    }
  }

  await launch()
  owner = await announceOwner(files)
  const kept = keepRunning()
  let stopped: Promise<void> | undefined
  async function stop(): Promise<void> {
    stopping.abort()
    current?.release()
    const impatient = setTimeout(() => current?.quit(), stopTimeoutMs)
    await kept
    clearTimeout(impatient)
    await new Promise((closed) => owner?.close(closed))
    removeSocketFolder(files.socketFolder)
  }
  return { url: socketUrl(files.socketFolder, database), stop: () => (stopped ??= stop()) }
}

/** Joins the Postgres of a running owner, which `stop` then leaves alone, or starts one: for short work beside a server. */
export async function reachEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  try {
    return await startEmbeddedPostgres(options)
  } catch (error) {
    if (error instanceof DataInUse) return { url: error.url, stop: async () => {} }
    throw error
  }
}

/**
 * Whether a start would find data, and not make any.
 *
 * @throws when we may not look
 */
export function hasEmbeddedPostgres(dataDir: string): boolean {
  const made = join(dataDir, 'postgres', 'cluster', 'PG_VERSION')
  return statSync(made, { throwIfNoEntry: false }) !== undefined
}

class DataInUse extends Error {
  readonly url: string
  constructor(files: PostgresFiles) {
    super(`the data in ${files.cluster} is in use by another running process`)
    this.url = socketUrl(files.socketFolder, database)
  }
}

/** @returns `'answers'`, or what is wrong. */
async function answering(files: PostgresFiles, postmaster: Postmaster): Promise<string> {
  const deadlineAt = Date.now() + startTimeoutMs
  const pid = await postmaster.pid
  while (!postmaster.hasEnded() && Date.now() < deadlineAt) {
    // Another one may answer on the same socket, before ours finds out that it is not alone.
    if ((await postmasterPid(files.socketFolder)) === pid) {
      return createDatabase(files.socketFolder, database).then(() => 'answers', String)
    }
    await sleep(pollMs)
  }
  return 'it does not answer'
}

/** Waits until no Postgres runs on the data, and stops one that nobody owns: what a crash leaves behind. */
async function evictLeftover(at: {
  files: PostgresFiles
  warn: (line: string) => void
  isOwner: boolean
}): Promise<void> {
  const { files, warn, isOwner } = at
  const deadlineAt = Date.now() + startTimeoutMs
  let signalAt: number | undefined
  while (Date.now() < deadlineAt) {
    if (!isOwner && (await accepts(ownerSocket(files)))) throw new DataInUse(files)
    const pid = await postmasterPid(files.socketFolder)
    if (pid === 'absent' && !isLockJustMade(files)) return removeStaleLocks(files, warn)
    if (typeof pid === 'number') {
      signalAt ??= Date.now() + leftoverGraceMs
      if (Date.now() >= signalAt) {
        warn(`a Postgres that nobody owns runs on ${files.cluster} and is stopped: pid ${pid}`)
        process.kill(pid, 'SIGINT')
        signalAt = Date.now() + leftoverGraceMs
      }
    }
    await sleep(pollMs)
  }
  throw new Error(`a Postgres that does not answer runs on ${files.cluster}: stop it first`)
}

/** While this listens, the Postgres on the data has an owner. Postgres' own lock decides who may call this. */
async function announceOwner(files: PostgresFiles): Promise<Server> {
  const socket = ownerSocket(files)
  rmSync(socket, { force: true })
  const server = createServer((caller) => caller.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(socket, resolve)
  })
  return server.unref()
}

function ownerSocket(files: PostgresFiles): string {
  return join(files.socketFolder, 'owner')
}
