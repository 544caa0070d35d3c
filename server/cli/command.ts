import type { Config } from '../config/config.ts'

export type Command = {
  /** What may follow the name. */
  readonly usage: string
  readonly summary: string
  /** Production must say AUTH_SECRET for it. */
  readonly needsSecret?: true
  /** @returns the exit code; data goes to stdout, talk to stderr */
  run(args: readonly string[], config: Config): Promise<number>
}

/** Works anywhere: it asks neither the environment nor a database. */
export type LoneCommand = Pick<Command, 'usage' | 'summary'> & {
  /** @returns the exit code; data goes to stdout, talk to stderr */
  runAlone(args: readonly string[]): Promise<number>
}

/** By their names, of one word or two. */
export type Commands = Readonly<Record<string, Command | LoneCommand>>

/** The command line cannot be understood: exit 3. */
export class UsageError extends Error {}
