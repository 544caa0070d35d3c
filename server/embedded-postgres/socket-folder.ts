import { createHash } from 'node:crypto'
import { chmodSync, chownSync, lstatSync, mkdirSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { PostgresHome, RunAs } from './postgres-home.ts'

/** The folders Postgres listens in. See `socketUrl` for why there are two. */
export function socketFolders(socketFolder: string): readonly [string, string] {
  return [socketFolder, `${socketFolder},`]
}

/** A folder in the data folder, or a private temporary one when that path is too long for a socket. */
export function socketFolderOf({ folder, runAs }: PostgresHome): string {
  const inside = join(folder, 'socket')
  if (fitsSocket(inside)) return inside
  // The same name at every start on the same data, so that a leftover Postgres is found again.
  const name = `token-ledger-${createHash('sha256').update(folder).digest('hex').slice(0, 12)}`
  const temporary = join(tmpdir(), name, 'socket')
  return runAs === undefined && fitsSocket(temporary) ? temporary : join('/tmp', name, 'socket')
}

export function makeSocketFolder(socketFolder: string, runAs: RunAs | undefined): void {
  const parent = dirname(socketFolder)
  mkdirSync(parent, { recursive: true, mode: 0o700 })
  // Any user can create this folder in /tmp first. Postgres must not listen in a folder of another user.
  const { uid } = lstatSync(parent)
  if (!lstatSync(parent).isDirectory() || (uid !== process.getuid?.() && uid !== runAs?.uid)) {
    throw new Error(`${parent} belongs to another user: remove it, or choose another DATA_DIR`)
  }
  chmodSync(parent, 0o700)
  for (const each of [parent, ...socketFolders(socketFolder)]) {
    mkdirSync(each, { recursive: true, mode: 0o700 })
    if (runAs !== undefined) chownSync(each, runAs.uid, runAs.gid)
  }
}

/** Removes the folders that are empty. Another process may already be using them for its own start. */
export function removeSocketFolder(socketFolder: string): void {
  for (const each of [...socketFolders(socketFolder), dirname(socketFolder)]) {
    try {
      rmdirSync(each)
    } catch {
      // Not empty, or already removed.
    }
  }
}

// The path of a socket has at most 104 bytes (macOS) or 108, including the final zero. `@`, `"`, colons and commas
// have a meaning in the URL or in the list of folders that Postgres is given.
function fitsSocket(folder: string): boolean {
  const longest = join(`${folder},`, '.s.PGSQL.65535')
  const limit = process.platform === 'darwin' ? 103 : 107
  return Buffer.byteLength(longest) <= limit && !/[,:@"]/.test(folder)
}
