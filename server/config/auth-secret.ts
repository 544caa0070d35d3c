import { randomBytes } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { codeOf } from '../../db/connection/errors.ts'
import { ConfigError } from './config-error.ts'
import { withDataDirErrors } from './data-dir.ts'

/**
 * The secret of a service that was given none: made once, kept in the data folder, readable by its
 * owner alone. Processes that start together agree on one.
 *
 * @throws {ConfigError} when it is empty, or when others may read it
 */
export function loadOrCreateAuthSecret(dataDir: string): string {
  const file = path.join(dataDir, 'auth-secret')
  withDataDirErrors(dataDir, () => createUnlessThere(file))
  const mode = statSync(file).mode & 0o777
  // As ssh does: who could read it may have done so, which a quiet chmod would hide. Windows has no such mode.
  if (process.platform !== 'win32' && (mode & 0o077) !== 0)
    throw new ConfigError(
      `AUTH_SECRET: ${file} may be used by others (mode ${mode.toString(8)}); shut it, such as by: chmod 600 ${file}`,
    )
  const secret = withDataDirErrors(dataDir, () => readFileSync(file, 'utf8').trim())
  if (secret === '')
    throw new ConfigError(
      `AUTH_SECRET: ${file} is empty; bring it back from a backup, or remove it when the database is new, such as by: rm ${file}`,
    )
  return secret
}

function createUnlessThere(file: string): void {
  mkdirSync(path.dirname(file), { recursive: true })
  const draft = `${file}.${process.pid}`
  // Flushed, because the database that is made with it will outlive a power loss.
  writeFileSync(draft, `${randomBytes(48).toString('base64')}\n`, { mode: 0o600, flush: true })
  try {
    // A link is made whole or not at all, and never over one that is there.
    linkSync(draft, file)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  } finally {
    rmSync(draft)
  }
}
