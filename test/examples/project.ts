import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { install, packAll, run } from '../package/tarballs.ts'
import { waitFor } from '../support/wait.ts'

/** A copy of an example, with its packages installed: ours from their tarballs, the others from npm. */
export type Project = AsyncDisposable & {
  readonly folder: string
  /** Runs one of its programs, such as `vite build`, to the end. @returns what it printed */
  run(program: string, args: readonly string[], env?: Environment): Promise<string>
  /** Starts Node with these arguments, and waits until `url` answers. The process ends with the project. */
  serve(args: readonly string[], options: { url: string; env: Environment }): Promise<void>
}

type Environment = Readonly<Record<string, string>>

const inherited = { PATH: process.env.PATH, HOME: process.env.HOME, NEXT_TELEMETRY_DISABLED: '1' }

/** @param packages The packages to install, where not all that it needs run here. */
export async function installExample(name: string, packages?: readonly string[]): Promise<Project> {
  const folder = await mkdtemp(path.join(tmpdir(), `token-ledger-${name}-`))
  const tarballs = (await packAll(folder)).filter((file) => /-(client|verifier)-/.test(file))
  const project = path.join(folder, 'project')
  const source = path.join('client/examples', name)
  if (packages === undefined) await install(project, tarballs, source)
  else {
    await install(project, [...tarballs, ...packages])
    await cp(source, project, { recursive: true })
  }
  const ends: (() => Promise<unknown>)[] = []
  return {
    folder: project,
    async run(program, args, env = {}) {
      const bin = path.join(project, 'node_modules/.bin', program)
      const { stdout } = await run(bin, [...args], {
        cwd: project,
        env: { ...inherited, ...env },
      }).catch((failed: { stdout: string; stderr: string }) => {
        throw new Error(`${program} failed: ${failed.stdout}${failed.stderr}`)
      })
      return stdout
    },
    async serve(args, { url, env }) {
      const child = spawn(process.execPath, args, {
        cwd: project,
        env: { ...inherited, ...env },
        stdio: ['ignore', 'ignore', 'inherit'],
      })
      const exited = once(child, 'exit')
      ends.push(async () => {
        child.kill('SIGTERM')
        await exited
      })
      const answers = () =>
        fetch(url).then(
          () => true,
          () => false,
        )
      await waitFor(answers, `${args.join(' ')} answers at ${url}`, 60_000)
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(ends.map((end) => end()))
      await rm(folder, { recursive: true, force: true })
    },
  }
}
