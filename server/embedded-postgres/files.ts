import { join } from 'node:path'
import { withDataDirErrors } from '../config/data-dir.ts'
import { runnableBinaries } from './binaries.ts'
import { prepareCluster } from './cluster.ts'
import { prepareHome, type RunAs } from './home.ts'
import { useOwnPostgres } from './platform.ts'
import { socketFolderOf } from './socket-folder.ts'

/** Where Postgres finds its program, its data and its sockets, and which user it runs as. */
export type PostgresFiles = {
  readonly program: string
  readonly cluster: string
  readonly socketFolder: string
  /** Unset: as ourselves. */
  readonly runAs: RunAs | undefined
}

/** Makes everything ready on disk; after the first time only checks. Nothing runs afterwards. */
export function preparePostgresFiles(dataDir: string, warn: (line: string) => void): PostgresFiles {
  if (process.platform === 'win32') {
    throw new Error(
      `the embedded Postgres needs unix sockets, which Windows lacks: ${useOwnPostgres}`,
    )
  }
  const home = withDataDirErrors(dataDir, () => prepareHome(dataDir, warn))
  const native = runnableBinaries(home)
  return {
    program: join(native, 'bin', 'postgres'),
    cluster: withDataDirErrors(dataDir, () => prepareCluster(home, native)),
    socketFolder: socketFolderOf(home),
    runAs: home.runAs,
  }
}
