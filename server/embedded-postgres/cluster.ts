import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, fsyncSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageVersion } from './binaries.ts'
import type { PostgresHome } from './home.ts'
import { postgresEnvironment, useOwnPostgres } from './platform.ts'
import { makeFolder } from './unfinished-folder.ts'

/** The folder with the data, made at the first start. */
export function prepareCluster(home: PostgresHome, native: string): string {
  const cluster = join(home.folder, 'cluster')
  if (!existsSync(join(cluster, 'PG_VERSION'))) {
    makeFolder(home, cluster, (unfinished) => initdb({ home, native, folder: unfinished }))
    sync(home.folder)
  }
  checkMajor(native, cluster)
  return cluster
}

function initdb(at: { home: PostgresHome; native: string; folder: string }): void {
  const { home, native, folder } = at
  const made = spawnSync(
    join(native, 'bin', 'initdb'),
    [
      `--pgdata=${folder}`,
      '--username=postgres',
      '--auth-local=trust', // only who may enter the socket folder gets this far
      '--auth-host=reject',
      '--encoding=UTF8',
      '--locale-provider=builtin', // sorts alike on every system and after every upgrade of it
      '--builtin-locale=C.UTF-8',
      '--locale=C',
      '--data-checksums',
    ],
    { ...home.runAs, env: postgresEnvironment, cwd: home.folder, encoding: 'utf8' },
  )
  if (made.status === 0) return
  const said = made.error?.message ?? made.stderr.trim().split('\n').slice(-5).join(' | ')
  // A container often runs as a number that /etc/passwd does not name; initdb insists on a name.
  const advice = /effective user ID/.test(said)
    ? `: ${useOwnPostgres}, or run as a user with a name`
    : ''
  throw new Error(`initdb could not make the database: ${said}${advice}`)
}

// initdb syncs what it wrote; the name it was moved to is ours to sync.
function sync(folder: string): void {
  const opened = openSync(folder, 'r')
  fsyncSync(opened)
  closeSync(opened)
}

function checkMajor(native: string, cluster: string): void {
  const found = readFileSync(join(cluster, 'PG_VERSION'), 'utf8').trim()
  const wanted = packageVersion(native).split('.')[0]
  if (found === wanted) return
  throw new Error(
    `${cluster} was made by Postgres ${found}, and this is Postgres ${wanted}, which cannot read it: ` +
      `dump it with the version it was made by, or ${useOwnPostgres}`,
  )
}
