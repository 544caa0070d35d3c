import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { testSecret } from './server.ts'

export type Outcome = { readonly code: number; readonly stdout: string; readonly stderr: string }

/** Runs one of our programs to its end, in a process of its own, with this environment and no other. */
export async function run(
  script: string,
  args: readonly string[],
  { env = {}, stdin = '' }: { env?: Record<string, string>; stdin?: string } = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, ['--import', 'tsx', script, ...args], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
  })
  child.stdin.end(stdin)
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ])
  return { code: Number(code), stdout, stderr }
}

/** The command line, on this database. */
export function cli(databaseUrl: string, args: readonly string[], stdin = ''): Promise<Outcome> {
  const env = { DATABASE_URL: databaseUrl, AUTH_SECRET: testSecret }
  return run('server/cli/main.ts', args, { env, stdin })
}
