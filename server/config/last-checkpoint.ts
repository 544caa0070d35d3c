import { readFileSync } from 'node:fs'
import { ConfigError } from './config-error.ts'

/**
 * A checkpoint that was kept outside of the database. The variable is the text, which has lines, or the name of a file.
 *
 * @throws {ConfigError} when the file cannot be read
 */
export function readLastCheckpoint(value: string | undefined): string | null {
  if (value === undefined) return null
  if (value.includes('\n')) return value.endsWith('\n') ? value : `${value}\n`
  try {
    return readFileSync(value, 'utf8')
  } catch {
    throw new ConfigError(
      'LAST_CHECKPOINT: cannot be read; it must be a file that GET /ledger/checkpoint was saved in, or its text',
    )
  }
}
