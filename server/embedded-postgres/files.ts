import { join } from 'node:path'
import { withDataDirErrors } from '../config/data-dir.ts'
import { runnableBinaries } from './binaries.ts'
import { prepareCluster } from './cluster.ts'
import { prepareHome } from './home.ts'
import type { RunAs } from './postgres-home.ts'
import { loadOrCreatePassword } from './password.ts'
import { useOwnPostgres } from './platform.ts'
import { socketFolderOf } from './socket-folder.ts'

/** Where Postgres finds its program, its data and its sockets, and which user it runs as. */
export type PostgresFiles = {
  readonly program: string
  readonly cluster: string
  readonly socketFolder: string
  /** Undefined: the user of this process. */
  readonly runAs: RunAs | undefined
  /** Of the superuser. */
  readonly password: string
}

/** Prepares all files at the first start and checks them at later ones. Starts no long-running process. */
export function preparePostgresFiles(dataDir: string, warn: (line: string) => void): PostgresFiles {
  if (process.platform === 'win32') {
    throw new Error(
      `the embedded Postgres needs Unix sockets and does not run on Windows: ${useOwnPostgres}`,
    )
  }
  const home = withDataDirErrors(dataDir, () => prepareHome(dataDir, warn))
  const native = runnableBinaries(home)
  return {
    program: join(native, 'bin', 'postgres'),
    cluster: withDataDirErrors(dataDir, () => prepareCluster(home, native)),
    socketFolder: socketFolderOf(home),
    runAs: home.runAs,
    password: withDataDirErrors(dataDir, () => loadOrCreatePassword(home.folder)),
  }
}
