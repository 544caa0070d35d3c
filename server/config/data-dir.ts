import { ConfigError } from './config-error.ts'
import { systemErrorCode } from './system-error.ts'

const problems: Readonly<Record<string, string>> = {
  ENOTDIR: 'is not a folder',
  EEXIST: 'is not a folder',
  EACCES: 'is not accessible to this user',
  EPERM: 'is not accessible to this user',
  EROFS: 'is on a read-only file system',
  ENOSPC: 'is on a full file system',
  EDQUOT: 'is on a file system where this user has used up its quota',
  ENOENT: 'cannot be created',
  ELOOP: 'is a symbolic link to itself',
  ENAMETOOLONG: 'is too long a path',
}

/**
 * Runs `work`, which reads or writes in the data folder.
 *
 * @throws {ConfigError} when `work` failed because of the folder
 */
export function withDataDirErrors<T>(dataDir: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    const code = systemErrorCode(error)
    const problem = problems[code]
    if (problem === undefined) throw error
    throw new ConfigError(
      `DATA_DIR: ${dataDir} ${problem} (${code}); choose another folder, such as DATA_DIR=.data`,
    )
  }
}
