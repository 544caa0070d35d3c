import { readFileSync, readdirSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { PostgresFiles } from './files.ts'
import { hasCode } from './platform.ts'
import { socketFolders } from './socket-folder.ts'

// Postgres makes a lock and writes its pid in one go: one that is still empty then was torn.
const writtenWithinMs = 2_000

/** Whether a Postgres may be writing its lock at this moment: it holds no process id yet, and is new. */
export function isLockJustMade(files: PostgresFiles): boolean {
  return locksOf(files).some((lock) => isIncomplete(lock) && isNew(lock))
}

function isNew(lock: string): boolean {
  const changedAt = statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? 0
  return Math.abs(Date.now() - changedAt) < writtenWithinMs
}

/**
 * Removes the locks that keep Postgres from starting for ever: those whose pid belongs to something else by now, after a
 * crash of the whole machine or container, and those that hold no pid, after a power loss or on a full disk.
 *
 * @throws naming the lock that holds no pid, when somebody may be using the data
 */
export function removeStaleLocks(files: PostgresFiles, warn: (line: string) => void): void {
  const torn = locksOf(files).find(isIncomplete)
  if (torn === undefined && !isForeign(files)) return
  if (torn !== undefined) {
    const problem = `${torn} holds no process id, as after a power loss or on a full disk`
    const unless = reasonToKeepLock(files.cluster)
    if (unless !== null) throw new Error(`${problem}: remove it and start again, unless ${unless}`)
    // Another start may have been quicker, and its Postgres have a lock by now.
    if (!isIncomplete(torn)) return
    warn(`${problem}, and is removed: no process works in ${files.cluster}`)
  }
  for (const lock of locksOf(files)) rmSync(lock, { force: true })
}

/** Postgres' processes, and no others, work in the folder of their data. */
function isForeign({ cluster }: PostgresFiles): boolean {
  try {
    const pid = readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n')[0]
    return readlinkSync(`/proc/${pid}/cwd`) !== cluster
  } catch {
    // No lock, no such process, or a system without /proc: Postgres judges for itself.
    return false
  }
}

/** @returns null when surely no Postgres is on the data */
function reasonToKeepLock(cluster: string): string | null {
  if (process.platform !== 'linux') return `a Postgres runs on ${cluster}`
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && worksIn(name, cluster))
  return pid === undefined ? null : `process ${pid}, which works in that folder, is a Postgres`
}

function worksIn(pid: string, folder: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === folder
  } catch {
    return false
  }
}

/** The lock of the data, and the sockets with theirs. */
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
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}
