import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

const run = promisify(execFile)
let folder: string

// A stranger's project: an empty folder, our tarball, and nothing else.
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'token-ledger-package-'))
  await run('npm', ['run', '--silent', 'build'])
  const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', folder])
  await writeFile(path.join(folder, 'package.json'), '{"type":"module","private":true}')
  const tarball = path.join(folder, stdout.trim())
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']
  await run('npm', ['install', ...flags, tarball], { cwd: folder })
}, 240_000)

afterAll(() => rm(folder, { recursive: true, force: true }))

test('the installed package can be imported at every entry', async () => {
  const program = `
    import { buildApp, tokenLedger, loadConfig, connect } from 'token-ledger'
    import { createAuthClient, authLink, AuthClientError } from 'token-ledger/client'
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
    import { createAuthClient, authLink } from 'token-ledger/client'
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
