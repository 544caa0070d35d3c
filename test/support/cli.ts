import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { testSecret } from './server.ts'

export type CliAnswer = { readonly code: number; readonly stdout: string; readonly stderr: string }

/** Runs the command line in a process of its own. */
export async function cli(databaseUrl: string | null, ...args: string[]): Promise<CliAnswer> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'server/cli/main.ts', ...args], {
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      AUTH_SECRET: testSecret,
      ...(databaseUrl !== null && { DATABASE_URL: databaseUrl }),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const [code] = await once(child, 'close')
  return { code: Number(code), stdout, stderr }
}
