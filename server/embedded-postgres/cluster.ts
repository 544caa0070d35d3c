import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { packageVersion } from './binaries.ts'
import type { PostgresHome } from './postgres-home.ts'
import { hasName, nobodyUser } from './own-user.ts'
import { postgresEnvironment, useOwnPostgres } from './platform.ts'
import { makeFolder } from './unfinished-folder.ts'

/** The data folder of Postgres. The first start creates it. */
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
  // initdb refuses a user without a name. The folder stays open for it, because of first starts at the same time; all
  // that is in there is closed to other users by itself.
  const runAs = home.runAs === undefined || hasName(home.runAs) ? home.runAs : nobodyUser
  if (runAs === nobodyUser) {
    chmodSync(home.folder, 0o711)
    chownSync(folder, runAs.uid, runAs.gid)
  }
  const made = spawnSync(
    join(native, 'bin', 'initdb'),
    [
      `--pgdata=${folder}`,
      '--username=postgres',
      '--auth-local=trust', // until the first start sets a password: see password.ts
      '--auth-host=reject',
      '--encoding=UTF8',
      '--locale-provider=builtin', // sorts the same on every system and after every system upgrade
      '--builtin-locale=C.UTF-8',
      '--locale=C',
      '--data-checksums',
    ],
    { ...runAs, env: postgresEnvironment, cwd: folder, encoding: 'utf8' },
  )
  if (made.status === 0) return
  const output = made.error?.message ?? made.stderr.trim().split('\n').slice(-5).join(' | ')
  // Containers often run as a user id without an entry in /etc/passwd, which initdb requires.
  const advice = /effective user ID/.test(output)
    ? `: run as a user that /etc/passwd lists, or ${useOwnPostgres}`
    : ''
  throw new Error(`initdb could not create the database: ${output}${advice}`)
}

// initdb syncs the files it wrote, but not the rename that follows.
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
    `${cluster} was created by Postgres ${found}, and Postgres ${wanted} cannot read it: ` +
      `dump it with Postgres ${found}, or ${useOwnPostgres}`,
  )
}
