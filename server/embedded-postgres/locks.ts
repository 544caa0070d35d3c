import { readFileSync, readdirSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { systemErrorCode } from '../config/system-error.ts'
import type { PostgresFiles } from './files.ts'
import { worksIn } from './in-use.ts'
import { socketFolders } from './socket-folder.ts'

// Postgres creates a lock and writes its process id at once. One that is still empty after this was cut off.
const writtenWithinMs = 2_000

/** Whether a Postgres may be writing its lock at this moment: the lock is new and has no process id yet. */
export function isLockJustMade(files: PostgresFiles): boolean {
  return locksOf(files).some((lock) => isIncomplete(lock) && isNew(lock))
}

function isNew(lock: string): boolean {
  const changedAt = statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? 0
  return Math.abs(Date.now() - changedAt) < writtenWithinMs
}

/**
 * Removes locks that would keep Postgres from ever starting: those whose process id now belongs to another program,
 * after a crash of the machine or container, and those without a process id, after a power loss or on a full disk.
 *
 * @throws an error that names the lock without a process id, when another process may be using the data
 */
export function removeStaleLocks(files: PostgresFiles, warn: (line: string) => void): void {
  const incomplete = locksOf(files).find(isIncomplete)
  if (incomplete === undefined && !isForeign(files)) return
  if (incomplete !== undefined) {
    const problem = `${incomplete} contains no process id, as after a power loss or on a full disk`
    const reason = reasonToKeepLock(files.cluster)
    if (reason !== null) throw new Error(`${problem}: remove it and start again, unless ${reason}`)
    // Another process may have started Postgres meanwhile, and the lock may now be its own.
    if (!isIncomplete(incomplete)) return
    warn(`${problem}; it is removed, because no process works in ${files.cluster}`)
  }
  for (const lock of locksOf(files)) rmSync(lock, { force: true })
}

/** Whether the process named in the lock is not Postgres: the working directory of Postgres is its data folder. */
function isForeign({ cluster }: PostgresFiles): boolean {
  try {
    const pid = readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n')[0]
    return readlinkSync(`/proc/${pid}/cwd`) !== cluster
  } catch {
    // No lock, no process of that id, or no /proc: Postgres itself decides about its lock.
    return false
  }
}

/** @returns null when it is certain that no Postgres uses the data */
function reasonToKeepLock(cluster: string): string | null {
  if (process.platform !== 'linux') return `a Postgres is using ${cluster}`
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && worksIn(name, cluster))
  return pid === undefined ? null : `process ${pid}, which works in that folder, is Postgres`
}

/** The lock of the data folder, and the sockets with their locks. */
function locksOf({ cluster, socketFolder }: PostgresFiles): string[] {
  const sockets = socketFolders(socketFolder).flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.startsWith('.s.PGSQL.'))
      .map((name) => join(folder, name)),
  )
  return [join(cluster, 'postmaster.pid'), ...sockets]
}

function isIncomplete(lock: string): boolean {
  if (!/\.(pid|lock)$/.test(lock)) return false
  try {
    return !/^-?\d+\s/.test(readFileSync(lock, 'utf8'))
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false
    throw error
  }
}
