import { createHash } from 'node:crypto'
import { chmodSync, chownSync, lstatSync, mkdirSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { PostgresHome, RunAs } from './home.ts'

/** The folders Postgres listens in: `socketUrl` says why there are two. */
export function socketFolders(socketFolder: string): readonly [string, string] {
  return [socketFolder, `${socketFolder},`]
}

/** In the data folder; in a private temporary one when its path is too long for a socket. */
export function socketFolderOf({ folder, runAs }: PostgresHome): string {
  const inside = join(folder, 'socket')
  if (fitsSocket(inside)) return inside
  // The same for the same data at every start, so that a leftover is found again.
  const name = `token-ledger-${createHash('sha256').update(folder).digest('hex').slice(0, 12)}`
  const temporary = join(tmpdir(), name, 'socket')
  return runAs === undefined && fitsSocket(temporary) ? temporary : join('/tmp', name, 'socket')
}

export function makeSocketFolder(socketFolder: string, runAs: RunAs | undefined): void {
  const parent = dirname(socketFolder)
  mkdirSync(parent, { recursive: true, mode: 0o700 })
  // /tmp is everybody's: a folder that somebody else put there first must not become our door.
  const { uid } = lstatSync(parent)
  if (!lstatSync(parent).isDirectory() || (uid !== process.getuid?.() && uid !== runAs?.uid)) {
    throw new Error(`${parent} belongs to somebody else: remove it, or choose another DATA_DIR`)
  }
  chmodSync(parent, 0o700)
  for (const each of [parent, ...socketFolders(socketFolder)]) {
    mkdirSync(each, { recursive: true, mode: 0o700 })
    if (runAs !== undefined) chownSync(each, runAs.uid, runAs.gid)
  }
}

/** What is still in use stays: another start may already be waiting in it. */
export function removeSocketFolder(socketFolder: string): void {
  for (const each of [...socketFolders(socketFolder), dirname(socketFolder)]) {
    try {
      rmdirSync(each)
    } catch {
      // Not empty, or gone.
    }
  }
}

// Kernels hold a socket's path in 104 (macOS) or 108 bytes with its final zero. `@`, `"`, a colon and a comma mean
// something in the URL or in Postgres' list of folders.
function fitsSocket(folder: string): boolean {
  const longest = join(`${folder},`, '.s.PGSQL.65535')
  const limit = process.platform === 'darwin' ? 103 : 107
  return Buffer.byteLength(longest) <= limit && !/[,:@"]/.test(folder)
}
