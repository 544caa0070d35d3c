import { rmSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { withDataDirErrors } from '../config/data-dir.ts'
import {
  accepts,
  createDatabase,
  postmasterPid,
  requirePassword,
  serviceLogin,
  socketUrl,
} from './client.ts'
import { type PostgresFiles, preparePostgresFiles } from './files.ts'
import { isLockJustMade, removeStaleLocks } from './locks.ts'
import { type Postmaster, spawnPostmaster } from './postmaster.ts'
import { makeSocketFolder, removeSocketFolder } from './socket-folder.ts'

export type EmbeddedPostgresOptions = {
  /** Its subfolder `postgres` holds all files of Postgres. */
  readonly dataDir: string
  /** Parameters of postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>>
  /** Receives the log of Postgres, line by line. */
  readonly log?: (line: string) => void
  /** Receives what the operator should know: data kept elsewhere, a leftover stopped, a restart. Default: `log`. */
  readonly warn?: (line: string) => void
}

export type EmbeddedPostgres = {
  /** Of the superuser. Works in postgres.js and, unchanged, in psql. */
  readonly url: string
  /** Of the login that serves. `migrate` creates it. */
  readonly serviceUrl: string
  /** Fast shutdown: ends every connection and waits until Postgres has exited. May be called again. */
  stop(): Promise<void>
}

const database = 'token_ledger'

// Crash recovery after a busy day may take minutes on a slow disk.
const startTimeoutMs = 5 * 60_000
// When two processes start at the same time: how long the second one waits to learn who holds the lock.
const lockTimeoutMs = 30_000
// The guard stops a Postgres whose owner was killed. It gets this long before this process does so.
const leftoverGraceMs = 3_000
// A fast shutdown writes a checkpoint, which may take a while.
const stopTimeoutMs = 60_000
const longestRestartDelayMs = 30_000
const pollMs = 25

/**
 * Starts the Postgres that comes with the package, on a Unix socket and without a TCP port. Restarts it if it exits,
 * and stops it when this process ends, even if this process is killed.
 *
 * @throws an error whose message is one line: the data is in use, belongs to another major version, or Postgres does
 * not start
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
      const problem = await Promise.race([current.ended, waitForAnswer(files, current)])
      if (problem === null) return
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
      const exit = await current?.ended
      current?.release()
      if (isStopping()) return
      warn(`Postgres exited unexpectedly and is restarted: ${exit}`)
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
  const supervision = keepRunning()
  let stopped: Promise<void> | undefined
  async function stop(): Promise<void> {
    stopping.abort()
    current?.release()
    const quitTimer = setTimeout(() => current?.quit(), stopTimeoutMs)
    await supervision
    clearTimeout(quitTimer)
    await new Promise((closed) => owner?.close(closed))
    removeSocketFolder(files.socketFolder)
  }
  return { ...urlsOf(files), stop: () => (stopped ??= stop()) }
}

/**
 * For short work beside a running server: uses the Postgres of the process that owns it, which `stop` then leaves
 * running, or starts one.
 */
export async function reachEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  try {
    return await startEmbeddedPostgres(options)
  } catch (error) {
    if (error instanceof DataInUse) return { ...urlsOf(error.files), stop: async () => {} }
    throw error
  }
}

/**
 * Whether there is data that a start would use, so that it creates none.
 *
 * @throws when the folder is not accessible
 */
export function hasEmbeddedPostgres(dataDir: string): boolean {
  const made = join(dataDir, 'postgres', 'cluster', 'PG_VERSION')
  return statSync(made, { throwIfNoEntry: false }) !== undefined
}

class DataInUse extends Error {
  readonly files: PostgresFiles
  constructor(files: PostgresFiles) {
    super(`the data in ${files.cluster} is in use by another running process`)
    this.files = files
  }
}

function urlsOf(files: PostgresFiles): Pick<EmbeddedPostgres, 'url' | 'serviceUrl'> {
  return {
    url: socketUrl(files, database),
    serviceUrl: socketUrl(files, database, serviceLogin),
  }
}

/** @returns null once Postgres answers; otherwise what is wrong */
async function waitForAnswer(files: PostgresFiles, postmaster: Postmaster): Promise<string | null> {
  const deadlineAt = Date.now() + startTimeoutMs
  const pid = await postmaster.pid
  while (!postmaster.hasEnded() && Date.now() < deadlineAt) {
    // Another Postgres may answer on this socket until the new one notices that the data is in use.
    if ((await postmasterPid(files)) === pid) {
      return prepareDatabase(files).then(() => null, String)
    }
    await sleep(pollMs)
  }
  return 'it does not answer'
}

async function prepareDatabase(files: PostgresFiles): Promise<void> {
  await requirePassword(files)
  await createDatabase(files, database)
}

/** Waits until no Postgres uses the data. Stops one that a crash left behind without an owner process. */
async function evictLeftover({
  files,
  warn,
  isOwner,
}: {
  files: PostgresFiles
  warn: (line: string) => void
  isOwner: boolean
}): Promise<void> {
  const deadlineAt = Date.now() + startTimeoutMs
  let signalAt: number | undefined
  while (Date.now() < deadlineAt) {
    if (!isOwner && (await accepts(ownerSocket(files)))) throw new DataInUse(files)
    const pid = await postmasterPid(files)
    if (pid === 'absent' && !isLockJustMade(files)) return removeStaleLocks(files, warn)
    if (typeof pid === 'number') {
      signalAt ??= Date.now() + leftoverGraceMs
      if (Date.now() >= signalAt) {
        warn(
          `a Postgres without an owner process runs on ${files.cluster} and is stopped: pid ${pid}`,
        )
        process.kill(pid, 'SIGINT')
        signalAt = Date.now() + leftoverGraceMs
      }
    }
    await sleep(pollMs)
  }
  throw new Error(`a Postgres that does not answer runs on ${files.cluster}: stop it first`)
}

/** Shows that this process owns the Postgres on the data. Only the process whose Postgres got the lock calls this. */
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
