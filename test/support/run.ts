import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { nodeArguments } from './programs.ts'

export type FinishedProcess = {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program of this project to its end, in a process of its own, with this environment alone. */
export async function run(
  script: string,
  args: readonly string[],
  { env = {}, stdin = '' }: { env?: Record<string, string>; stdin?: string } = {},
): Promise<FinishedProcess> {
  const child = spawn(process.execPath, [...nodeArguments(script), ...args], {
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

/** Standard error without the lines that say what a start or a migration waits for. On a slow machine there are some. */
export function withoutWaits(stderr: string): string {
  return stderr.replaceAll(/^token-ledger: waiting for .+\n/gm, '')
}
