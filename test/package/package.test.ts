import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { filterProblems } from '@arethetypeswrong/core/problems'
import { build, type Plugin } from 'esbuild'
import { publint } from 'publint'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { longTest } from '../support/long.ts'
import { packages } from '../../.ci/packages.ts'
import { startApp } from '../support/app.ts'
import { cli } from '../support/cli.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { copyWith, install, packAll, run, typeErrors } from './tarballs.ts'

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }

// A compiler takes a second alone, and a minute on a machine that is busy with other tests.
vi.setConfig({ testTimeout: 180_000 })

let folder: string
let tarballs: readonly string[]
let service: string

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'token-ledger-package-'))
  tarballs = await packAll(folder)
  service = path.join(folder, 'service')
  const installed = Object.entries(packages).map(
    async ([name, { dependencies, optionalPeers }]) => {
      const siblings = (dependencies ?? []).filter((used) => used in packages)
      await install(projectOf(name), [name, ...siblings].map(tarballOf))
      const peers = [...Object.keys(optionalPeers ?? {}), '@types/node', '@types/react']
      await copyWith(projectOf(name), `${projectOf(name)}-with-peers`, peers)
    },
  )
  await Promise.all([install(service, [tarballOf('token-ledger')]), ...installed])
}, 240_000)

afterAll(() => rm(folder, { recursive: true, force: true }))

describe('token-ledger', () => {
  test('a fresh clone packs every package', () => {
    const names = ['token-ledger', ...Object.keys(packages)]
    expect(tarballs).toEqual(names.map(tarballOf).toSorted())
  })

  test('holds what was built for the service, and of the migrations only what the migrator reads', async () => {
    const installed = path.join(service, 'node_modules/token-ledger')
    const top = await readdir(installed)
    expect(top.toSorted()).toEqual(['LICENSE', 'README.md', 'dist', 'drizzle', 'package.json'])
    const { entries } = JSON.parse(await readFile('drizzle/meta/_journal.json', 'utf8')) as {
      entries: { tag: string }[]
    }
    const packed = await readdir(path.join(installed, 'drizzle'))
    expect(packed).toEqual(expect.arrayContaining(entries.map(({ tag }) => `${tag}.sql`)))
    expect(await readdir(path.join(installed, 'drizzle/meta'))).toEqual(['_journal.json'])
  })

  test('leaves to the other packages what only clients need', async () => {
    const dist = path.join(service, 'node_modules/token-ledger/dist')
    expect((await readdir(dist)).toSorted()).toEqual(['console', 'db', 'server'])
    const installed = await packagesIn(service)
    expect(installed.filter((name) => /^@trpc\/client$|^@token-ledger\//.test(name))).toEqual([])
  })

  test('can be imported and required at every entry', async () => {
    const imported = `
      import { buildApp, tokenLedger, loadConfig, connect } from 'token-ledger'
      import { tokenEvent, auditSessions } from 'token-ledger/db'
      const all = { buildApp, tokenLedger, loadConfig, connect, tokenEvent, auditSessions }
      console.log(Object.values(all).every((value) => value !== undefined))`
    expect(await outputOf(service, 'imports.mjs', imported)).toBe('true\n')
    const required = `
      for (const entry of ['', '/db'])
        console.log(Object.keys(require('token-ledger' + entry)).length > 0)`
    expect(await outputOf(service, 'require.cjs', required)).toBe('true\n'.repeat(2))
  })

  test('brings its types', async () => {
    const program = `
      import { buildApp, type AppRouter, type AuthRouter } from 'token-ledger'
      import type { AuditSession } from 'token-ledger/db'
      export const status = (session: AuditSession): 'active' | 'expired' | 'revoked' | 'reuse_detected' => session.status
      export type Routers = [AppRouter, AuthRouter]
      export const start: typeof buildApp = buildApp
      // @ts-expect-error without its options
      void buildApp()`
    await writeFile(path.join(service, 'types.ts'), program)
    const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023']
    const compiler = path.resolve('node_modules/.bin/tsc')
    const result = await run(compiler, [...options, '--types', '', '--skipLibCheck', 'types.ts'], {
      cwd: service,
    }).catch((error: { stdout: string }) => error)
    expect(result.stdout).toBe('')
  })

  test('brings the built console, and serves it', async () => {
    const built = path.join(service, 'node_modules/token-ledger/dist/console')
    const names = await readdir(built)
    expect(names.toSorted()).toEqual(['assets', 'index.html'])
    const page = await readFile(path.join(built, 'index.html'), 'utf8')
    const [, script = ''] = /src="\/console\/(assets\/index-[^"]+\.js)"/.exec(page) ?? []
    expect((await stat(path.join(built, script))).size).toBeGreaterThan(100_000)
    const program = `
      import fastify from 'fastify'
      import { mountConsole } from './node_modules/token-ledger/dist/server/http/routes/console.js'
      const app = fastify()
      await mountConsole(app)
      const { statusCode, body } = await app.inject('/console/')
      console.log(statusCode, body.includes('/console/assets/'))`
    expect(await outputOf(service, 'console.mjs', program)).toBe('200 true\n')
  })

  test('has a command, which says how to use it', async () => {
    const bin = path.join(service, 'node_modules/.bin/token-ledger')
    await expect(run(bin, ['nonsense'], { cwd: service })).rejects.toMatchObject({ code: 3 })
  })

  test('asked for traces without the SDK, which is no dependency, it says so and goes on', async () => {
    const main = 'node_modules/token-ledger/dist/server/main.js'
    const env = {
      PATH: process.env.PATH,
      OTEL_TRACES_EXPORTER: 'otlp',
      DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing',
    }
    const ended = await run(process.execPath, [main], { cwd: service, env }).catch(
      (error: { code: number; stderr: string }) => error,
    )
    expect(ended).toMatchObject({ code: 1 })
    const [traces, database] = ended.stderr.split('\n')
    expect(traces).toMatch(
      /^token-ledger: no traces without @opentelemetry\/sdk-node: Cannot find /,
    )
    expect(database).toMatch(/^token-ledger: .*127\.0\.0\.1:1/)
  })
})

describe.each(['token-ledger', ...Object.keys(packages)])('the tarball of %s', (name) => {
  test('gives publint nothing to say, not even a suggestion', async () => {
    const file = await readFile(tarballOf(name))
    const bytes = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength)
    const { messages } = await publint({ pack: { tarball: bytes }, strict: true })
    expect(messages).toEqual([])
  })

  // `attw`'s profile `esm-only`: it leaves out two resolutions that an ESM package without a CommonJS copy cannot satisfy: `node10`, which
  // does not know `exports`, and TypeScript's CommonJS, which calls `require` of ESM an error, though every Node that
  // the packages support allows it, as other tests here show.
  test('has types of every entry that describe the module format of its code', async () => {
    const analysis = await checkPackage(
      createPackageFromTarballData(await readFile(tarballOf(name))),
    )
    if (analysis.types === false) throw new Error('there are no types')
    const found = ['node16-esm', 'bundler'] as const
    expect(found.flatMap((resolutionKind) => filterProblems(analysis, { resolutionKind }))).toEqual(
      [],
    )
  })

  test('has source maps only of sources that it holds: none', async () => {
    const { stdout } = await run('tar', ['-tzf', tarballOf(name)])
    expect(stdout).not.toMatch(/\.map$/m)
  })
})

describe.each(Object.entries(packages))('%s, in an empty project', (name, made) => {
  const { entries, dependencies = [], optionalPeers = {} } = made
  const withPeers = () => `${projectOf(name)}-with-peers`

  test('is installed with its dependencies alone', async () => {
    expect(await packagesIn(projectOf(name))).toEqual([name, ...dependencies].toSorted())
  })

  test('keeps the mark of entries that run in the browser alone', async () => {
    for (const [entry, source] of Object.entries(entries)) {
      const code = await readFile(
        path.join(installed(projectOf(name)), `${fileOf(entry)}.js`),
        'utf8',
      )
      const isMarked = (await readFile(source, 'utf8')).startsWith("'use client'")
      expect([entry, code.startsWith('"use client"')]).toEqual([entry, isMarked])
    }
  })

  test('names nothing but its dependencies and optional peers', async () => {
    const files = await readdir(installed(projectOf(name)), { recursive: true })
    for (const file of files.filter((found) => /\.(?:js|d\.ts)$/.test(found)))
      expect([...Object.keys(optionalPeers), ...dependencies, 'node']).toEqual(
        expect.arrayContaining(await namedBy(file)),
      )
  })

  test('can be imported and required at every entry', async () => {
    const names = JSON.stringify(Object.keys(entries).map((entry) => path.join(name, entry)))
    const imported = `for (const name of ${names}) console.log(Object.keys(await import(name)).length > 0)`
    const required = `for (const name of ${names}) console.log(Object.keys(require(name)).length > 0)`
    const expected = 'true\n'.repeat(Object.keys(entries).length)
    expect(await outputOf(withPeers(), 'imports.mjs', imported)).toBe(expected)
    expect(await outputOf(withPeers(), 'require.cjs', required)).toBe(expected)
  })

  test('has types that every kind of project can read, without a peer where an entry needs none', async () => {
    const light = await programOf(needsNoPeer)
    expect(light).toContain(`'${name}'`)
    expect(await typeErrors(projectOf(name), light)).toEqual([])
    const program = await programOf(needsPeer)
    const options = { types: ['node'], resolutions: ['nodenext'] } as const
    expect(await typeErrors(withPeers(), program, options)).toEqual([])
  })

  // Older versions come from the registry. tRPC's own types need TypeScript 5.7.
  longTest.each([
    ['5.4.5', /^@trpc\//],
    ['5.9.3', /^$/],
    ['6.0.3', /^$/],
    ['7.0.2', /^$/],
  ])(
    'has types that TypeScript %s can read',
    async (older, tooNew) => {
      const project = path.join(folder, `typescript-${older}`)
      await stat(project).catch(() => install(project, [`typescript@${older}`]))
      const compiler = path.join(project, 'node_modules/typescript/bin/tsc')
      expect(await typeErrors(projectOf(name), await programOf(needsNoPeer), { compiler })).toEqual(
        [],
      )
      const program = await programOf(
        (named) => needsPeer(named) && !named.some((used) => tooNew.test(used)),
      )
      expect(await typeErrors(withPeers(), program, { compiler, types: ['node'] })).toEqual([])
    },
    600_000,
  )

  const needsNoPeer = (named: readonly string[]) =>
    named.every((used) => dependencies.includes(used))
  const needsPeer = (named: readonly string[]) => !needsNoPeer(named)

  /** A program that imports the entries whose types name packages as `chosen` says. */
  async function programOf(chosen: (named: readonly string[]) => boolean): Promise<string> {
    const lines = Object.keys(entries).map(async (entry, i) => {
      const named = await namedBy(`${fileOf(entry)}.d.ts`)
      return chosen(named) ? `export * as entry${i} from '${path.join(name, entry)}'` : ''
    })
    return `export {}\n${(await Promise.all(lines)).join('\n')}`
  }

  /** The packages that a file imports; `node` for those of Node. */
  async function namedBy(file: string): Promise<string[]> {
    const text = await readFile(path.join(installed(projectOf(name)), file), 'utf8')
    const found = text.matchAll(
      /(?:\bfrom |\bimport |\bimport\()"(node(?=:)|(?:@[\w-]+\/)?[\w-]+)/g,
    )
    return Array.from(found, ([, used = '']) => used)
  }

  function installed(project: string): string {
    return path.join(project, 'node_modules', name)
  }
})

test('each class is in one package and there once, so that `instanceof` knows it', async () => {
  const classes = Object.keys(packages).map(async (name) => {
    const place = path.join(projectOf(name), 'node_modules', name)
    const files = (await readdir(place, { recursive: true })).filter((file) => file.endsWith('.js'))
    const texts = files.map((file) => readFile(path.join(place, file), 'utf8'))
    return Array.from(
      (await Promise.all(texts))
        .join('\n')
        .matchAll(/\bclass (?!extends\b)(\w+)|\b(\w+) = class\b/g),
      ([, one, other]) => one ?? other,
    )
  })
  const all = (await Promise.all(classes)).flat()
  expect(all).toContain('AuthClientError')
  expect(all).toHaveLength(new Set(all).size)
})

describe('@token-ledger/client', () => {
  const client = () => projectOf('@token-ledger/client')

  test('takes at most 300 kB of disk', async () => {
    const place = path.join(client(), 'node_modules/@token-ledger/client')
    const files = await readdir(place, { recursive: true, withFileTypes: true })
    const sizes = files
      .filter((file) => file.isFile())
      .map(async (file) => (await stat(path.join(file.parentPath, file.name))).size)
    const total = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
    expect(total).toBeLessThanOrEqual(300_000)
  })

  test.each([
    ['createAuthClient', 7_890],
    ['AuthClientError', 300],
  ])('%s adds at most %i bytes to a page, minified and gzipped', async (name, limit) => {
    const { outputFiles } = await build({
      stdin: {
        contents: `export { ${name} } from '@token-ledger/client'`,
        resolveDir: client(),
      },
      bundle: true,
      minify: true,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
      plugins: [withoutLaterCode],
      write: false,
    })
    expect(gzipSync(outputFiles[0]!.contents, { level: 9 }).length).toBeLessThanOrEqual(limit)
  })

  test('types calls from the server to the page, and wrong ones do not compile', async () => {
    const program = `
      import { createTRPCClient, httpLink } from '@trpc/client'
      import { createAuthClient } from '@token-ledger/client'
      import { authLink, type AppRouter } from '@token-ledger/client/trpc'
      const auth = createAuthClient({ baseUrl: 'http://127.0.0.1:3000' })
      const api = createTRPCClient<AppRouter>({ links: [authLink(auth), httpLink({ url: 'http://127.0.0.1:3000/trpc' })] })
      export const email: Promise<string> = api.me.query().then((me) => me.user.email)
      export const role: Promise<'admin' | 'user'> = api.admin.users.list.query().then(({ items }) => items[0]!.role)
      // @ts-expect-error there is no such procedure
      void api.nobody.query()
      // @ts-expect-error the id is a text
      void api.sessions.revoke.mutate({ familyId: 1 })`
    const options = { types: ['node'], resolutions: ['nodenext'] } as const
    expect(await typeErrors(`${client()}-with-peers`, program, options)).toEqual([])
  })
})

describe('client/examples/cli', () => {
  test('signs in, calls, stays signed in through an outage, tells of a revoked session, signs out', async () => {
    await using app = await startApp()
    const { email } = await makeUser(app.owner.url)
    const project = path.join(folder, 'example-cli')
    await install(project, [tarballOf('@token-ledger/client')], 'client/examples/cli')
    const tool = async (args: readonly string[], stdin = '', url = app.url) => {
      const env = { SERVICE_URL: url, SESSION_FILE: path.join(project, 'session') }
      const running = run(process.execPath, ['main.js', ...args], { cwd: project, env })
      running.child.stdin?.end(stdin)
      const { stdout, stderr } = await running.catch(
        (failed: { stdout: string; stderr: string }) => failed,
      )
      return stdout + stderr
    }
    expect(await tool(['whoami'])).toBe('Sign in first: refresh_token_missing.\n')
    expect(await tool(['login', email], 'wrong')).toMatch(/password is wrong/)
    expect(await tool(['login', email], testPassword)).toBe(`Signed in as ${email}.\n`)
    const away = await tool(['whoami'], '', 'http://127.0.0.1:1')
    expect(away).toBe('The service cannot be reached: network_error.\n')
    expect(await tool(['whoami'])).toBe(`${email}\n`)
    await cli(app.owner.url, ['sessions', 'revoke-user', email, '--reason', 'a lost laptop'])
    expect(await tool(['whoami'])).toBe('Sign in first: session_revoked.\n')
    await tool(['login', email], testPassword)
    expect(await tool(['logout'])).toBe('Signed out.\n')
    expect(await tool(['whoami'])).toBe('Sign in first: refresh_token_missing.\n')
  })
})

/** What a page imports only when it needs it, by `import()`: the code for step-up, other audiences, storages. */
const withoutLaterCode: Plugin = {
  name: 'without-later-code',
  setup: (options) =>
    options.onResolve({ filter: /./ }, ({ kind, path: file }) =>
      kind === 'dynamic-import' ? { path: file, external: true } : null,
    ),
}

/** `.` is `index`, and `./x` is `x`. */
function fileOf(entry: string): string {
  return entry === '.' ? 'index' : entry.slice(2)
}

/** Where a package is installed with its dependencies alone. */
function projectOf(name: string): string {
  return path.join(folder, path.basename(name))
}

/** As npm names it: `@a/b` is in `a-b-1.2.3.tgz`. */
function tarballOf(name: string): string {
  return path.join(folder, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`)
}

/** The names of what npm has installed in a project. */
async function packagesIn(project: string): Promise<string[]> {
  const lock = await readFile(path.join(project, 'node_modules/.package-lock.json'), 'utf8')
  const { packages: found } = JSON.parse(lock) as { packages: Record<string, unknown> }
  return Object.keys(found).map((place) => place.replace(/^.*node_modules\//, ''))
}

async function outputOf(project: string, file: string, program: string): Promise<string> {
  await writeFile(path.join(project, file), program)
  return (await run(process.execPath, [file], { cwd: project })).stdout
}
