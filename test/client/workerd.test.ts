import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { expect } from 'vitest'
import { startApp } from '../support/app.ts'
import { longTest } from '../support/long.ts'
import { freePort } from '../support/server.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'
import type { Visit } from './workerd/worker.ts'

/** The runtime of Cloudflare's workers. It takes 160 MB, so it is installed for this test alone. */
const runtime = 'workerd@1.20261117.1'

longTest(
  'client and verifier run in workerd: signs in, refreshes, calls, verifies, signs out',
  async () => {
    await using app = await startApp()
    const { email } = await makeUser(app.owner.url)
    await using worker = await startWorker('test/client/workerd/worker.ts')
    const visit: Visit = { url: app.url, email, password: testPassword }
    const response = await fetch(worker.url, { method: 'POST', body: JSON.stringify(visit) })
    expect(await response.json()).toEqual({ status: 200, isUser: true, isConfirmed: true })
  },
  600_000,
)

async function startWorker(entry: string): Promise<AsyncDisposable & { readonly url: string }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'token-ledger-workerd-'))
  const remove = () => rm(folder, { recursive: true })
  try {
    const { url, stop } = await serveFrom(folder, entry)
    return {
      url,
      async [Symbol.asyncDispose]() {
        await stop()
        await remove()
      },
    }
  } catch (error) {
    await remove()
    throw error
  }
}

/** Installs the runtime into the folder, and starts it with one worker. */
async function serveFrom(
  folder: string,
  entry: string,
): Promise<{ readonly url: string; readonly stop: () => Promise<void> }> {
  const port = await freePort()
  await writeFile(path.join(folder, 'package.json'), '{"private":true}')
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']
  await promisify(execFile)('npm', ['install', ...flags, runtime], { cwd: folder })
  await build({
    entryPoints: [entry],
    outfile: path.join(folder, 'worker.js'),
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['workerd'],
  })
  await writeFile(path.join(folder, 'config.capnp'), configOf(port))
  const machine = `${process.platform}-${process.arch === 'arm64' ? 'arm64' : '64'}`
  const binary = `node_modules/@cloudflare/workerd-${machine}/bin/workerd`
  const child = spawn(path.join(folder, binary), ['serve', 'config.capnp'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  await once(child, 'spawn')
  const exited = once(child, 'exit')
  const stop = async () => {
    child.kill()
    await exited
  }
  const url = `http://127.0.0.1:${port}`
  const answers = () =>
    fetch(url).then(
      () => true,
      () => false,
    )
  try {
    await waitFor(answers, 'workerd answers', 60_000)
  } catch (error) {
    await stop()
    throw error
  }
  return { url, stop }
}

/** One worker, which may call this machine. */
function configOf(port: number): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "worker", worker = .worker),
    (name = "internet", network = (allow = ["private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "worker")],
);
const worker :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed "worker.js")],
  compatibilityDate = "2026-01-01",
);
`
}
