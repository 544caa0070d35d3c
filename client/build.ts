// Run by `npm run build`, after tsc and into the same folder: the example page, and the size that docs/guides/frontend.md states.
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { buildExample } from './example/build.ts'

const [folder = 'dist'] = process.argv.slice(2)
await buildExample(join(folder, 'client/example'))

const alone = await gzipSize(['@trpc/client'])
const withTrpc = await gzipSize([])
console.error(`token-ledger/client: ${alone} bytes gzipped, ${withTrpc} with @trpc/client`)

async function gzipSize(external: string[]): Promise<number> {
  const { outputFiles } = await build({
    entryPoints: ['client/index.ts'],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    external,
    write: false,
  })
  const [file] = outputFiles
  if (file === undefined) throw new Error('nothing was built')
  return gzipSync(file.contents, { level: 9 }).length
}
