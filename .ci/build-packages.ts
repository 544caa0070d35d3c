// Run by `npm run build` after tsc: `build-packages.ts FOLDER`, where FOLDER holds what tsc has made. It makes each package
// of `packages.ts` in FOLDER/packages, with one file of types for each entry. The service itself keeps nothing of the
// client.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { rolldown, type Plugin } from 'rolldown'
import { dts } from 'rolldown-plugin-dts'
import { packages, type Package } from './packages.ts'

const [folder = 'dist'] = process.argv.slice(2)
const service = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest

/** A client knows what it may ask, not what the server has at hand when it answers. */
const withoutServersContext: Plugin = {
  name: 'without-servers-context',
  load: (id) =>
    id.endsWith('/server/procedures/context.d.ts')
      ? 'export type AppContext = object; export type AuthContext = object'
      : null,
}

for (const [name, made] of Object.entries(packages)) {
  const target = join(folder, 'packages', basename(name))
  mkdirSync(target, { recursive: true })
  await bundleCode(name, made, target)
  await bundleTypes(name, made, target)
  writeFileSync(join(target, 'package.json'), JSON.stringify(manifestOf(name, made), null, 2))
  writeFileSync(join(target, 'README.md'), readmeOf(name, made))
  cpSync('LICENSE', join(target, 'LICENSE'))
}

rmSync(join(folder, 'client'), { recursive: true })

/** All entries at once: what several entries need, such as the classes of errors, is one module. */
async function bundleCode(name: string, { entries }: Package, target: string): Promise<void> {
  const bundle = await rolldown({
    input: Object.fromEntries(
      Object.entries(entries).map(([entry, source]) => [fileOf(entry), source]),
    ),
    platform: 'neutral',
    transform: { target: 'es2022' },
    plugins: [entriesByName(name, '')],
    external: isPackage,
    // 'use client' stays at the top of its entry.
    checks: { moduleLevelDirective: false },
  })
  // Shorter code, but with its names and its lines.
  const minify = { compress: true, mangle: false, codegen: false }
  await bundle.write({ dir: target, chunkFileNames: 'shared/[name].js', minify })
}

/** Each entry on its own: its types are in one file. */
async function bundleTypes(name: string, { entries }: Package, target: string): Promise<void> {
  for (const [entry, source] of Object.entries(entries)) {
    const bundle = await rolldown({
      input: { [fileOf(entry)]: resolve(folder, source.replace(/\.ts$/, '.d.ts')) },
      plugins: [
        withoutServersContext,
        entriesByName(name, folder),
        dts({ dtsInput: true, emitDtsOnly: true, tsconfig: false }),
      ],
      external: isPackage,
    })
    await bundle.write({ dir: target })
  }
}

/** What another entry exports is imported from there, by its package's name if it is another package's. */
function entriesByName(own: string, base: string): Plugin {
  const names = new Map(
    Object.entries(packages).flatMap(([name, { entries }]) =>
      Object.entries(entries).map(([entry, source]) => [
        source,
        name === own ? `./${fileOf(entry)}.js` : join(name, entry),
      ]),
    ),
  )
  return {
    name: 'entries-by-name',
    resolveId(source, importer) {
      if (importer === undefined || !source.startsWith('.')) return null
      const file = relative(resolve(base), resolve(dirname(importer), source))
      const id = names.get(file)
      // The code of a package's own entries is in one bundle.
      return id === undefined || (base === '' && id.startsWith('.')) ? null : { id, external: true }
    },
  }
}

function isPackage(id: string): boolean {
  return /^[\w@]/.test(id)
}

/** `.` is `index`, and `./x` is `x`. */
function fileOf(entry: string): string {
  return entry === '.' ? 'index' : entry.slice(2)
}

function manifestOf(name: string, made: Package) {
  const { version, homepage, bugs, repository, license, author, engines } = service
  const entries = Object.keys(made.entries).map((entry) => {
    const file = `./${fileOf(entry)}`
    return [entry, { types: `${file}.d.ts`, default: `${file}.js` }]
  })
  const dependencies = (made.dependencies ?? []).map((used) => [
    used,
    used in packages ? version : `^${service.dependencies[used]}`,
  ])
  const peers = Object.keys(made.optionalPeers ?? {}).map((peer) => [peer, { optional: true }])
  return {
    name,
    version,
    description: made.description,
    homepage,
    bugs,
    repository,
    license,
    author,
    type: 'module',
    engines,
    sideEffects: false,
    exports: { ...Object.fromEntries(entries), './package.json': './package.json' },
    dependencies: Object.fromEntries(dependencies),
    peerDependencies: made.optionalPeers ?? {},
    peerDependenciesMeta: Object.fromEntries(peers),
    publishConfig: { access: 'public' },
  }
}

function readmeOf(name: string, { description, guide }: Package): string {
  const page = service.homepage.replace('#readme', `/blob/v${service.version}/${guide}`)
  return `# ${name}\n\n${description} It has the version of the service, \`token-ledger\`.\n\n[Guide](${page})\n`
}

type Manifest = Readonly<
  Record<'version' | 'homepage' | 'license' | 'author', string> &
    Record<'bugs' | 'repository' | 'engines', unknown>
> & { readonly dependencies: Readonly<Record<string, string>> }
