import { execFile } from 'node:child_process'
import { cp, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { copyWorkingTree } from '../support/working-tree.ts'

export const run = promisify(execFile)

/** Packs a fresh clone, without anything that was built before. @returns the tarballs, in the order of their names */
export async function packAll(folder: string): Promise<string[]> {
  const clone = path.join(folder, 'clone')
  await copyWorkingTree(clone)
  await run('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: clone })
  await rm(clone, { recursive: true })
  const files = await readdir(folder)
  return files.toSorted().map((file) => path.join(folder, file))
}

/** Installs tarballs into an empty project, or into a copy of a project. */
export async function install(
  project: string,
  tarballs: readonly string[],
  from?: string,
): Promise<void> {
  if (from === undefined) {
    await mkdir(project)
    await writeFile(path.join(project, 'package.json'), '{"type":"module","private":true}')
  } else await cp(from, project, { recursive: true })
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']
  await run('npm', ['install', ...flags, ...tarballs], { cwd: project })
}

/** Copies a project, and adds packages as this repository has them. */
export async function copyWith(
  project: string,
  target: string,
  packages: readonly string[],
): Promise<void> {
  await cp(project, target, { recursive: true })
  for (const name of packages) {
    const place = path.join(target, 'node_modules', name)
    await mkdir(path.dirname(place), { recursive: true })
    await symlink(path.resolve('node_modules', name), place)
  }
}

const resolutions = { bundler: 'esnext', node16: 'node16', nodenext: 'nodenext' } as const

type Options = {
  /** The newest TypeScript unless given. */
  readonly compiler?: string
  /** All of them unless given. */
  readonly resolutions?: readonly (keyof typeof resolutions)[]
  readonly types?: readonly string[]
}

/** What TypeScript says about a program in each kind of project, also about the types of its libraries. */
export async function typeErrors(
  project: string,
  program: string,
  options: Options = {},
): Promise<string[]> {
  await writeFile(path.join(project, 'program.ts'), program)
  const kinds = options.resolutions ?? (['bundler', 'node16', 'nodenext'] as const)
  const found = kinds.map(async (moduleResolution) => {
    const compilerOptions = {
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      noEmit: true,
      target: 'es2022',
      lib: ['es2022', 'dom', 'dom.iterable'],
      types: options.types ?? [],
      module: resolutions[moduleResolution],
      moduleResolution,
    }
    const file = path.join(project, `tsconfig.${moduleResolution}.json`)
    await writeFile(file, JSON.stringify({ compilerOptions, files: ['program.ts'] }))
    const compiler = path.resolve(options.compiler ?? 'node_modules/typescript/bin/tsc')
    const args = [compiler, '--pretty', 'false', '--project', file]
    const { stdout } = await run(process.execPath, args, { cwd: project }).catch(
      (failed: { stdout: string }) => failed,
    )
    return stdout === '' ? [] : [`${moduleResolution}: ${stdout}`]
  })
  return (await Promise.all(found)).flat()
}
