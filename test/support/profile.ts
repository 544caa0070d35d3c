import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type BrowserContext } from 'playwright-core'
import { executablePath, launchArgs } from './browser.ts'

/** A browser that runs on a profile of the disk. */
export type Running = {
  readonly context: BrowserContext
  /** Ends it as a user does: it writes everything first. */
  quit(): Promise<void>
  /** Ends it and all its processes at once, by SIGKILL. */
  kill(): Promise<void>
}

/** A profile of Chromium that outlives its browser. */
export type Profile = Disposable & {
  readonly folder: string
  start(): Promise<Running>
}

/** @param switches of the browser, beside those of every test */
export function makeProfile(switches: readonly string[] = []): Profile {
  const folder = mkdtempSync(join(tmpdir(), 'token-ledger-profile-'))
  const alive = new Set<Running>()
  return {
    folder,
    async start() {
      const browser = await launch(folder, switches)
      alive.add(browser)
      return browser
    },
    [Symbol.dispose]() {
      for (const browser of alive) void browser.kill()
      rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
    },
  }
}

async function launch(folder: string, switches: readonly string[]): Promise<Running> {
  const settings = ['--headless=new', `--user-data-dir=${folder}`, '--remote-debugging-port=0']
  const child = spawn(executablePath!, [...launchArgs, ...settings, ...switches, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    // With a process group of its own, which `kill` ends.
    detached: true,
  })
  const exited = once(child, 'exit')
  const endpoint = await new Promise<string>((resolve, reject) => {
    let output = ''
    child.stderr.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      const [found] = /ws:\/\/\S+/.exec(output) ?? []
      if (found !== undefined) resolve(found)
    })
    void exited.then(() => reject(new Error(`Chromium did not start: ${output}`)))
  })
  const browser = await chromium.connectOverCDP(endpoint)
  return {
    context: browser.contexts()[0]!,
    async quit() {
      const session = await browser.newBrowserCDPSession()
      await session.send('Browser.close').catch(() => {})
      await exited
    },
    async kill() {
      if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid!, 'SIGKILL')
      await exited
    },
  }
}
