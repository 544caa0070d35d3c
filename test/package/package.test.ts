import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { publint } from 'publint'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyWorkingTree } from '../support/working-tree.ts'

const run = promisify(execFile)
let folder: string
let tarball: string

// A fresh clone is packed, without anything that was built before, and installed into an empty project.
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'token-ledger-package-'))
  const clone = path.join(folder, 'clone')
  await copyWorkingTree(clone)
  const packing = ['pack', '--silent', '--pack-destination', folder]
  const { stdout } = await run('npm', packing, { cwd: clone })
  tarball = path.join(folder, stdout.trim())
  await rm(clone, { recursive: true })
  await writeFile(path.join(folder, 'package.json'), '{"type":"module","private":true}')
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']
  await run('npm', ['install', ...flags, tarball], { cwd: folder })
}, 240_000)

afterAll(() => rm(folder, { recursive: true, force: true }))

test('a fresh clone packs what it builds, and of the migrations only what the migrator reads', async () => {
  const installed = path.join(folder, 'node_modules/token-ledger')
  const top = await readdir(installed)
  expect(top.toSorted()).toEqual(['LICENSE', 'README.md', 'dist', 'drizzle', 'package.json'])
  const { entries } = JSON.parse(await readFile('drizzle/meta/_journal.json', 'utf8')) as {
    entries: { tag: string }[]
  }
  const packed = await readdir(path.join(installed, 'drizzle'))
  expect(packed).toEqual(expect.arrayContaining(entries.map(({ tag }) => `${tag}.sql`)))
  expect(await readdir(path.join(installed, 'drizzle/meta'))).toEqual(['_journal.json'])
})

test('publint finds nothing in the tarball, not even a suggestion', async () => {
  const file = await readFile(tarball)
  const bytes = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength)
  const { messages } = await publint({ pack: { tarball: bytes }, strict: true })
  expect(messages).toEqual([])
})

// The profile leaves out two resolutions that an ESM package without a CommonJS copy cannot satisfy: `node10`, which
// does not know `exports`, and TypeScript's CommonJS, which calls `require` of ESM an error, though every Node that
// the package supports allows it (the next test does it).
test('the types of every entry describe the module format of its code', async () => {
  const attw = path.resolve('node_modules/.bin/attw')
  const options = ['--profile', 'esm-only', '--format', 'ascii', '--no-color', '--no-emoji']
  const found = await run(attw, [tarball, ...options]).then(
    () => '',
    (error: { code: string | number; stdout: string }) => `${error.code}\n${error.stdout}`,
  )
  expect(found).toBe('')
}, 60_000)

test('a CommonJS program can require every entry', async () => {
  const program = `
    for (const entry of ['', '/client', '/client/file-store', '/verifier', '/db'])
      console.log(Object.keys(require('token-ledger' + entry)).length > 0)`
  await writeFile(path.join(folder, 'require.cjs'), program)
  const { stdout } = await run(process.execPath, ['require.cjs'], { cwd: folder })
  expect(stdout).toBe('true\n'.repeat(5))
})

test('the installed package can be imported at every entry', async () => {
  const program = `
    import { buildApp, tokenLedger, loadConfig, connect } from 'token-ledger'
    import { createAuthClient, AuthClientError } from 'token-ledger/client'
    import { authLink } from 'token-ledger/client/trpc'
    import { createVerifier, fastifyVerifier, expressVerifier, trpcVerifier } from 'token-ledger/verifier'
    import { tokenEvent, auditSessions } from 'token-ledger/db'
    const all = { buildApp, tokenLedger, loadConfig, connect, createAuthClient, authLink, AuthClientError,
      createVerifier, fastifyVerifier, expressVerifier, trpcVerifier, tokenEvent, auditSessions }
    console.log(Object.values(all).every((value) => value !== undefined))`
  await writeFile(path.join(folder, 'imports.mjs'), program)
  const { stdout } = await run(process.execPath, ['imports.mjs'], { cwd: folder })
  expect(stdout.trim()).toBe('true')
})

test('its types are there, and a wrong call does not compile', async () => {
  const program = `
    import { createTRPCClient, httpLink } from '@trpc/client'
    import { buildApp, type AppRouter, type AuthRouter } from 'token-ledger'
    import { createAuthClient } from 'token-ledger/client'
    import { authLink } from 'token-ledger/client/trpc'
    import { createVerifier } from 'token-ledger/verifier'
    import type { AuditSession } from 'token-ledger/db'
    const auth = createAuthClient({ baseUrl: 'http://127.0.0.1:3000' })
    const api = createTRPCClient<AppRouter>({ links: [authLink(auth), httpLink({ url: 'http://127.0.0.1:3000/trpc' })] })
    export const email: Promise<string> = api.me.query().then((me) => me.user.email)
    export const status = (session: AuditSession): 'active' | 'expired' | 'revoked' | 'reuse_detected' => session.status
    export const verifier = createVerifier({ issuer: 'https://a.example', audience: 'b' })
    export type Login = AuthRouter
    export const start: typeof buildApp = buildApp
    // @ts-expect-error there is no such procedure
    void api.nobody.query()
    // @ts-expect-error the id is a text
    void api.sessions.revoke.mutate({ familyId: 1 })`
  await writeFile(path.join(folder, 'types.ts'), program)
  const compiler = path.resolve('node_modules/.bin/tsc')
  const options = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2023',
    '--types',
    '',
  ]
  const result = await run(compiler, [...options, '--skipLibCheck', 'types.ts'], {
    cwd: folder,
  }).catch((error: { stdout: string }) => error)
  expect(result.stdout).toBe('')
}, 60_000)

test('the command is there and says how to use it', async () => {
  const bin = path.join(folder, 'node_modules/.bin/token-ledger')
  await expect(run(bin, ['nonsense'], { cwd: folder })).rejects.toMatchObject({ code: 3 })
})

test('asked for traces without the SDK, which is no dependency, it says so and goes on', async () => {
  const main = 'node_modules/token-ledger/dist/server/main.js'
  const env = {
    PATH: process.env.PATH,
    OTEL_TRACES_EXPORTER: 'otlp',
    DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing',
  }
  const ended = await run(process.execPath, [main], { cwd: folder, env }).catch(
    (error: { code: number; stderr: string }) => error,
  )
  expect(ended).toMatchObject({ code: 1 })
  const [traces, database] = ended.stderr.split('\n')
  expect(traces).toMatch(/^token-ledger: no traces without @opentelemetry\/sdk-node: Cannot find /)
  expect(database).toMatch(/^token-ledger: .*127\.0\.0\.1:1/)
})
