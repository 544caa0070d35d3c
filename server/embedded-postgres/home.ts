import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { isInUse } from './in-use.ts'
import { nobodyUser, ownUserOf } from './own-user.ts'
import { useOwnPostgres } from './platform.ts'
import type { PostgresHome, RunAs } from './postgres-home.ts'
import { giveAway } from './unfinished-folder.ts'

// For a Postgres started by root whose own user cannot enter the requested folder, such as one under /root.
const fallbackFolder = '/var/lib/token-ledger'

export function prepareHome(dataDir: string, warn: (line: string) => void): PostgresHome {
  if (process.getuid?.() !== 0) return { folder: ownHome(resolve(dataDir)), runAs: undefined }
  if (process.platform !== 'linux') {
    throw new Error(
      `the embedded Postgres runs as root only on Linux: start as another user, or ${useOwnPostgres}`,
    )
  }
  const folder = rootsHome(resolve(dataDir), warn)
  takeFromNobody(folder)
  return { folder, runAs: ownerOf(folder) }
}

function ownHome(dataDir: string): string {
  const home = join(dataDir, 'postgres')
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const { uid } = statSync(home)
  if (uid === process.getuid?.()) return realpathSync(home)
  throw new Error(
    `${home} belongs to the user ${uid}: start as that user or as root, or ${useOwnPostgres}`,
  )
}

/**
 * Other programs run as `nobody`, as which older versions ran Postgres. One that still runs keeps its files: the next
 * start takes them over.
 */
function takeFromNobody(folder: string): void {
  if (statSync(folder).uid !== nobodyUser.uid || isInUse(join(folder, 'cluster'))) return
  // Other programs of that user could have read it.
  rmSync(join(folder, 'password'), { force: true })
  giveAway(folder, ownUserOf(folder))
}

/**
 * Postgres refuses to run as root and is run as a user of its own instead. The requested folder is often one that only
 * root can enter. Its permissions are not loosened: the data goes to `fallbackFolder`, and a link takes its place.
 */
function rootsHome(dataDir: string, warn: (line: string) => void): string {
  if (!existsSync(dataDir)) {
    mkdirSync(dataDir, { recursive: true })
    chmodSync(dataDir, 0o711)
  }
  const home = join(dataDir, 'postgres')
  const isLink = lstatSync(home, { throwIfNoEntry: false })?.isSymbolicLink() ?? false
  if (isLink && !existsSync(home)) {
    throw new Error(
      `${home} links to ${readlinkSync(home)}, which does not exist: restore it, or remove the link`,
    )
  }
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const real = realpathSync(home)
  if (canRunIn(real)) return real

  const refusal = `Postgres runs as a user of its own when started by root, and that user cannot enter ${real}`
  if (isLink || readdirSync(real).length > 0) {
    throw new Error(
      `${refusal}: run chmod o+x on its parent folders, start as another user, or ${useOwnPostgres}`,
    )
  }
  mkdirSync(fallbackFolder, { recursive: true })
  chmodSync(fallbackFolder, 0o755)
  const fallback = mkdtempSync(join(fallbackFolder, 'postgres-'))
  if (!canRunIn(fallback)) {
    throw new Error(`${refusal} or ${fallback}: start as another user, or ${useOwnPostgres}`)
  }
  try {
    rmdirSync(home)
    symlinkSync(fallback, home)
  } catch {
    rmdirSync(fallback)
    throw new Error(`another process is creating ${home}: try again`)
  }
  warn(`${refusal}: the data is kept in ${fallback}`)
  return fallback
}

/** Gives a folder of root to the user Postgres runs as. @returns false when that user cannot work in it. */
function canRunIn(folder: string): boolean {
  const runAs = ownerOf(folder)
  try {
    if (statSync(folder).uid === 0) chownSync(folder, runAs.uid, runAs.gid)
  } catch {
    return false
  }
  // Tried out instead of read from the mode bits, which access control lists and network mounts override.
  const script = 'cd "$0" && test -O . && test -w .'
  return spawnSync('/bin/sh', ['-c', script, folder], { ...runAs, cwd: '/' }).status === 0
}

function ownerOf(folder: string): RunAs {
  const { uid, gid } = statSync(folder)
  return uid === 0 ? ownUserOf(folder) : { uid, gid }
}
