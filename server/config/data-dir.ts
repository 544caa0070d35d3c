import { ConfigError } from './config-error.ts'

const problems: Readonly<Record<string, string>> = {
  ENOTDIR: 'is not a folder',
  EEXIST: 'is not a folder',
  EACCES: 'may not be used by this user',
  EPERM: 'may not be used by this user',
  EROFS: 'is on a file system that is read-only',
  ENOSPC: 'is on a file system that is full',
  EDQUOT: 'is on a file system that is full',
  ENOENT: 'cannot be made',
  ELOOP: 'is a link to itself',
  ENAMETOOLONG: 'is too long a name',
}

/**
 * Runs what reads and writes in the data folder.
 *
 * @throws {ConfigError} when the folder is the problem
 */
export function withDataDirErrors<T>(dataDir: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    const problem = problems[code]
    if (problem === undefined) throw error
    throw new ConfigError(
      `DATA_DIR: ${dataDir} ${problem} (${code}); set another folder, such as DATA_DIR=.data`,
    )
  }
}
