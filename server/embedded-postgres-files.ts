import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  fsyncSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'

/** Where Postgres finds its program, its data and its sockets, and which user it runs as. */
export type PostgresFiles = {
  readonly program: string
  readonly cluster: string
  readonly socketFolder: string
  /** Unset: as ourselves. */
  readonly runAs: RunAs | undefined
}

type RunAs = { readonly uid: number; readonly gid: number }

// The same number on every Linux that has the user at all.
const nobody: RunAs = { uid: 65534, gid: 65534 }

// Where root's Postgres keeps its data when nobody may not enter the folder asked for, such as one under /root.
const rootShelter = '/var/lib/token-ledger'

const wayOut = 'set DATABASE_URL to a Postgres of your own'

// No locale, PGPORT or LD_LIBRARY_PATH of the caller's leaks into the database.
export const postgresEnvironment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' }

/** Makes everything ready on disk; after the first time only checks. Nothing runs afterwards. */
export function preparePostgresFiles(dataDir: string, log: (line: string) => void): PostgresFiles {
  if (process.platform === 'win32') {
    throw new Error(`the embedded Postgres needs unix sockets, which Windows lacks: ${wayOut}`)
  }
  const asRoot = process.getuid?.() === 0
  if (asRoot && process.platform !== 'linux') {
    throw new Error(
      `the embedded Postgres does not run as root here: use another user, or ${wayOut}`,
    )
  }
  const home = asRoot ? rootsHome(resolve(dataDir), log) : ownHome(resolve(dataDir))
  const runAs = asRoot ? ownerOf(home) : undefined
  const native = runnableBinaries(home, runAs)
  const cluster = join(home, 'cluster')
  if (!existsSync(join(cluster, 'PG_VERSION'))) createCluster({ native, home, cluster, runAs })
  checkMajor(native, cluster)
  const program = join(native, 'bin', 'postgres')
  return { program, cluster, socketFolder: makeSocketFolder(home, runAs), runAs }
}

/** The folders Postgres listens in. `embedded-postgres.ts` says why there are two. */
export function socketFolders(socketFolder: string): readonly [string, string] {
  return [socketFolder, `${socketFolder},`]
}

function ownHome(dataDir: string): string {
  const home = join(dataDir, 'postgres')
  mkdirSync(home, { recursive: true, mode: 0o700 })
  return realpathSync(home)
}

/**
 * Postgres refuses to run as root, so it runs as nobody; but the folder asked for is often one that only root may
 * enter. Loosening somebody's home is not ours to do, so the data then moves out, and a link stays in its place.
 */
function rootsHome(dataDir: string, log: (line: string) => void): string {
  if (!existsSync(dataDir)) mkdirSync(dataDir, { recursive: true, mode: 0o711 })
  const home = join(dataDir, 'postgres')
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const real = realpathSync(home)
  if (statSync(real).uid === 0) chownSync(real, nobody.uid, nobody.gid)
  if (ownsAndEnters(real)) return real

  const refusal = `Postgres runs as nobody when started by root, and nobody may not enter ${real}`
  if (readdirSync(real).length > 0 || lstatSync(home).isSymbolicLink()) {
    throw new Error(
      `${refusal}: open its parent folders (chmod o+x), use another user, or ${wayOut}`,
    )
  }
  mkdirSync(rootShelter, { recursive: true })
  chmodSync(rootShelter, 0o755)
  const shelter = mkdtempSync(join(rootShelter, 'postgres-'))
  chownSync(shelter, nobody.uid, nobody.gid)
  if (!ownsAndEnters(shelter))
    throw new Error(`${refusal}, nor ${shelter}: use another user, or ${wayOut}`)
  rmdirSync(home)
  symlinkSync(shelter, home)
  log(`${refusal}: its data is kept in ${shelter}`)
  return shelter
}

function ownerOf(folder: string): RunAs {
  const { uid, gid } = statSync(folder)
  return { uid, gid }
}

// Asked of the system by trying, because access lists and network mounts make the mode bits lie.
function ownsAndEnters(folder: string): boolean {
  const script = 'cd "$0" && test -O . && test -w .'
  return spawnSync('/bin/sh', ['-c', script, folder], { ...ownerOf(folder), cwd: '/' }).status === 0
}

/** The platform package where it lies, or a copy beside the data when it is read-only or out of reach. */
function runnableBinaries(home: string, runAs: RunAs | undefined): string {
  const native = platformPackage()
  if (makeLinks(native) && runs(native, runAs)) return native
  const copy = join(home, `binaries-${packageVersion(native)}`)
  if (!existsSync(copy)) {
    const unfinished = mkdtempSync(join(home, unfinishedPrefix))
    cpSync(dirname(native), unfinished, { recursive: true, verbatimSymlinks: true })
    makeLinks(join(unfinished, 'native'))
    if (runAs !== undefined) giveAway(unfinished, runAs)
    moveIntoPlace(unfinished, copy)
  }
  if (runs(join(copy, 'native'), runAs)) return join(copy, 'native')
  throw new Error(
    `the Postgres in ${native} does not run on this system (it needs glibc): ${wayOut}`,
  )
}

function platformPackage(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native')
  } catch {
    throw new Error(
      `the package ${name} is not installed: run npm ci without --omit=optional, or ${wayOut}`,
    )
  }
}

function packageVersion(native: string): string {
  const { version }: { version: string } = JSON.parse(
    readFileSync(join(native, '..', 'package.json'), 'utf8'),
  )
  return version
}

/** npm cannot pack links; the package makes them in an install script, which `--ignore-scripts` leaves out. */
function makeLinks(native: string): boolean {
  const list: { source: string; target: string }[] = JSON.parse(
    readFileSync(join(native, 'pg-symlinks.json'), 'utf8'),
  )
  for (const { source, target } of list) {
    const link = join(native, '..', target)
    try {
      if (!existsSync(link)) symlinkSync(basename(source), link)
    } catch (error) {
      // Another process of ours may have been quicker; anything else is a folder that cannot be written.
      if (!hasCode(error, 'EEXIST')) return false
    }
  }
  return true
}

function runs(native: string, runAs: RunAs | undefined): boolean {
  const options = { ...runAs, env: postgresEnvironment, cwd: '/' }
  return ['postgres', 'initdb'].every(
    (name) => spawnSync(join(native, 'bin', name), ['--version'], options).status === 0,
  )
}

function createCluster(at: {
  native: string
  home: string
  cluster: string
  runAs: RunAs | undefined
}): void {
  const { native, home, cluster, runAs } = at
  // Made aside and renamed, so that a start that is killed half-way leaves no half a database.
  const unfinished = mkdtempSync(join(home, unfinishedPrefix))
  if (runAs !== undefined) giveAway(unfinished, runAs)
  const made = spawnSync(
    join(native, 'bin', 'initdb'),
    [
      `--pgdata=${unfinished}`,
      '--username=postgres',
      '--auth-local=trust', // only who may enter the socket folder gets this far
      '--auth-host=reject',
      '--encoding=UTF8',
      '--locale-provider=builtin', // sorts alike on every system and after every upgrade of it
      '--builtin-locale=C.UTF-8',
      '--locale=C',
      '--data-checksums',
    ],
    { ...runAs, env: postgresEnvironment, cwd: home, encoding: 'utf8' },
  )
  if (made.status !== 0) {
    rmSync(unfinished, { recursive: true, force: true })
    const said = (made.stderr ?? '').trim().split('\n').slice(-5).join(' | ')
    throw new Error(
      `initdb could not make the database in ${cluster}: ${said || made.error?.message}`,
    )
  }
  moveIntoPlace(unfinished, cluster)
  const folder = openSync(home, 'r')
  fsyncSync(folder)
  closeSync(folder)
}

function checkMajor(native: string, cluster: string): void {
  const found = readFileSync(join(cluster, 'PG_VERSION'), 'utf8').trim()
  const wanted = packageVersion(native).split('.')[0]
  if (found === wanted) return
  throw new Error(
    `${cluster} was made by Postgres ${found}, and this is Postgres ${wanted}, which cannot read it: ` +
      `dump it with the version it was made by, or ${wayOut}`,
  )
}

const unfinishedPrefix = '.unfinished-'

/** Of two processes that make the same folder, one wins and both use the winner's. */
function moveIntoPlace(unfinished: string, place: string): void {
  try {
    renameSync(unfinished, place)
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true })
    if (!hasCode(error, 'ENOTEMPTY') && !hasCode(error, 'EEXIST')) throw error
  }
}

function makeSocketFolder(home: string, runAs: RunAs | undefined): string {
  const inside = join(home, 'socket')
  const folder = fitsSocket(inside) ? inside : join(privateTemporaryFolder(home, runAs), 'socket')
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
function privateTemporaryFolder(home: string, runAs: RunAs | undefined): string {
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

function giveAway(folder: string, { uid, gid }: RunAs): void {
  lchownSync(folder, uid, gid)
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    lchownSync(join(folder, name), uid, gid)
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
