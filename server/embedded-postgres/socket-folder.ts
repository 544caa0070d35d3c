import { createHash } from 'node:crypto'
import { chmodSync, chownSync, lstatSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PostgresHome } from './home.ts'

/** The folders Postgres listens in: `socketUrl` says why there are two. */
export function socketFolders(socketFolder: string): readonly [string, string] {
  return [socketFolder, `${socketFolder},`]
}

/** In the data folder; in a private temporary one when its path is too long for a socket. */
export function makeSocketFolder(home: PostgresHome): string {
  const { runAs } = home
  const inside = join(home.folder, 'socket')
  const folder = fitsSocket(inside) ? inside : join(privateTemporaryFolder(home), 'socket')
  for (const each of socketFolders(folder)) {
    mkdirSync(each, { recursive: true, mode: 0o700 })
    if (runAs !== undefined) chownSync(each, runAs.uid, runAs.gid)
  }
  return folder
}

// Kernels hold a socket's path in 104 (macOS) or 108 bytes with its final zero. `@`, `"` and a comma mean something in
// the URL or in Postgres' list of folders.
function fitsSocket(folder: string): boolean {
  const longest = join(`${folder},`, '.s.PGSQL.65535')
  const limit = process.platform === 'darwin' ? 103 : 107
  return Buffer.byteLength(longest) <= limit && !/[,@"]/.test(folder)
}

/** The same for the same data at every start, so that a leftover is found again. */
function privateTemporaryFolder({ folder: home, runAs }: PostgresHome): string {
  const name = `token-ledger-${createHash('sha256').update(home).digest('hex').slice(0, 12)}`
  const own = join(tmpdir(), name)
  const folder = runAs === undefined && fitsSocket(join(own, 'socket')) ? own : join('/tmp', name)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  // /tmp is everybody's: a folder that somebody else put there first must not become our door.
  const { uid } = lstatSync(folder)
  if (!lstatSync(folder).isDirectory() || (uid !== process.getuid?.() && uid !== runAs?.uid)) {
    throw new Error(`${folder} belongs to somebody else: remove it, or use a shorter DATA_DIR`)
  }
  chmodSync(folder, 0o700)
  if (runAs !== undefined) chownSync(folder, runAs.uid, runAs.gid)
  return folder
}
