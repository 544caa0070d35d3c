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
  statSync,
  symlinkSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { useOwnPostgres } from './platform.ts'

export type RunAs = { readonly uid: number; readonly gid: number }

/** The folder that holds everything of one database, and the user Postgres runs as there. */
export type PostgresHome = {
  readonly folder: string
  /** Unset: as ourselves. */
  readonly runAs: RunAs | undefined
}

// The same number on every Linux that has the user at all.
const nobodyUser: RunAs = { uid: 65534, gid: 65534 }

// Where root's Postgres keeps its data when nobody may not enter the folder asked for, such as one under /root.
const fallbackFolder = '/var/lib/token-ledger'

export function prepareHome(dataDir: string, warn: (line: string) => void): PostgresHome {
  if (process.getuid?.() !== 0) return { folder: ownHome(resolve(dataDir)), runAs: undefined }
  if (process.platform !== 'linux') {
    throw new Error(
      `the embedded Postgres does not run as root here: use another user, or ${useOwnPostgres}`,
    )
  }
  const folder = rootsHome(resolve(dataDir), warn)
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
 * Postgres refuses to run as root, so it runs as nobody; but the folder asked for is often one that only root may
 * enter. Loosening somebody's home is not ours to do, so the data then moves out, and a link stays in its place.
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
      `${home} points to ${readlinkSync(home)}, which is gone: bring it back, or remove the link`,
    )
  }
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const real = realpathSync(home)
  if (canRunIn(real)) return real

  const refusal = `Postgres runs as nobody when started by root, and nobody may not enter ${real}`
  if (isLink || readdirSync(real).length > 0) {
    throw new Error(
      `${refusal}: open its parent folders (chmod o+x), use another user, or ${useOwnPostgres}`,
    )
  }
  mkdirSync(fallbackFolder, { recursive: true })
  chmodSync(fallbackFolder, 0o755)
  const shelter = mkdtempSync(join(fallbackFolder, 'postgres-'))
  if (!canRunIn(shelter)) {
    throw new Error(`${refusal}, nor ${shelter}: use another user, or ${useOwnPostgres}`)
  }
  try {
    rmdirSync(home)
    symlinkSync(shelter, home)
  } catch {
    rmdirSync(shelter)
    throw new Error(`${home} is being made by another start at this moment: try again`)
  }
  warn(`${refusal}: its data is kept in ${shelter}`)
  return shelter
}

/** Gives root's folder to the user Postgres runs as. @returns false when that user cannot live in it. */
function canRunIn(folder: string): boolean {
  const runAs = ownerOf(folder)
  try {
    if (statSync(folder).uid === 0) chownSync(folder, runAs.uid, runAs.gid)
  } catch {
    return false
  }
  // Asked of the system by trying, because access lists and network mounts make the mode bits lie.
  const script = 'cd "$0" && test -O . && test -w .'
  return spawnSync('/bin/sh', ['-c', script, folder], { ...runAs, cwd: '/' }).status === 0
}

function ownerOf(folder: string): RunAs {
  const { uid, gid } = statSync(folder)
  return uid === 0 ? nobodyUser : { uid, gid }
}
