import type { Config } from '../config/config.ts'

/**
 * Reads the configuration from the environment. With `'secret'`, production must set `AUTH_SECRET`.
 *
 * @throws {ConfigError}
 */
export type ReadConfig = (needs?: 'secret') => Config

export type Command = {
  /** What may follow the name. */
  readonly usage: string
  readonly summary: string
  /**
   * Data goes to stdout, messages to stderr. A command that never calls `readConfig` works anywhere.
   *
   * @returns the exit code
   */
  run(args: readonly string[], readConfig: ReadConfig): Promise<number>
}

/** By their names, of one word or two. */
export type Commands = Readonly<Record<string, Command>>

/** The command line cannot be understood: exit 3. */
export class UsageError extends Error {}
