import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'

/** Programs that tests start as separate processes. */
const programs = [
  'server/main.ts',
  'server/cli/main.ts',
  'test/support/embedded-postgres-owner.ts',
  'test/evidence/log-process.ts',
  'test/support/flood-process.ts',
  'test/verifier/services.ts',
]

/** Packages that are no plain JavaScript, find their own files, or import one in CommonJS on demand. */
const external = ['@node-rs/argon2', 'pino', '@opentelemetry/*', '@embedded-postgres/*'].concat(
  '@fastify/cookie',
)

/**
 * Bundles each program with its packages once for a whole run: Node starts a bundle in a sixth of the time that it needs
 * to translate the sources. The folder is inside the project, because the programs look for its package.json.
 *
 * @returns a function that removes the bundles
 */
export async function buildPrograms(): Promise<() => void> {
  const folder = mkdtempSync('.programs-')
  await build({
    entryPoints: programs,
    outbase: '.',
    outdir: folder,
    bundle: true,
    // Keeps modules that are imported on demand, such as tracing, in files of their own.
    splitting: true,
    platform: 'node',
    format: 'esm',
    external,
    // Packages in CommonJS call `require`, which a module does not have.
    banner: {
      js: `import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);`,
    },
    logLevel: 'error',
  })
  // Some programs run as another user.
  chmodSync(folder, 0o755)
  process.env['TEST_PROGRAMS'] = folder
  return () => rmSync(folder, { recursive: true, force: true })
}

/** Node's arguments for one of the programs: its bundle in a test run, else its sources. */
export function nodeArguments(program: string): string[] {
  const folder = process.env['TEST_PROGRAMS']
  if (folder === undefined || !programs.includes(program)) return ['--import', 'tsx', program]
  return [join(folder, program.replace(/\.ts$/, '.js'))]
}
