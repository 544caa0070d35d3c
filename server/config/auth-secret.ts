import { randomBytes } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { ConfigError } from './config-error.ts'
import { withDataDirErrors } from './data-dir.ts'
import { systemErrorCode } from './system-error.ts'

/**
 * The secret for a service without AUTH_SECRET. It is created once and kept in the data folder, readable
 * only by its owner. Processes that start at the same time end up with the same secret.
 *
 * @throws {ConfigError} when the file is empty or other users can access it
 */
export function loadOrCreateAuthSecret(dataDir: string): string {
  const file = path.join(dataDir, 'auth-secret')
  withDataDirErrors(dataDir, () => createIfMissing(file))
  const mode = statSync(file).mode & 0o777
  // Refuse, as ssh does: another user may have read it already, and a silent chmod would hide that. Windows has
  // no file modes.
  if (process.platform !== 'win32' && (mode & 0o077) !== 0)
    throw new ConfigError(
      `AUTH_SECRET: other users can access ${file} (mode ${mode.toString(8)}); restrict it with: chmod 600 ${file}`,
    )
  const secret = withDataDirErrors(dataDir, () => readFileSync(file, 'utf8').trim())
  if (secret === '')
    throw new ConfigError(
      `AUTH_SECRET: ${file} is empty; restore it from a backup or, if the database is new, remove it with: rm ${file}`,
    )
  return secret
}

/** `AUTH_SECRET`, then `AUTH_SECRET_PREVIOUS`. */
export function secretsOf(secret: string, previous: string | undefined): [string, ...string[]] {
  return previous === undefined ? [secret] : [secret, previous]
}

function createIfMissing(file: string): void {
  mkdirSync(path.dirname(file), { recursive: true })
  createSecretFile(file, `${randomBytes(48).toString('base64')}\n`)
}

/** Writes a file for its owner alone. A file that is there stays: of processes that start together, one writes it. */
export function createSecretFile(file: string, text: string): void {
  const draft = `${file}.${process.pid}`
  // Flushed: the database depends on it, and that data survives a power loss.
  writeFileSync(draft, text, { mode: 0o600, flush: true })
  try {
    // A hard link appears complete or not at all, and never replaces an existing file.
    linkSync(draft, file)
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw error
  } finally {
    rmSync(draft)
  }
}
