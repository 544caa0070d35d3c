import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { build } from 'esbuild'
import type { BrowserContext, Page } from 'playwright-core'
import type { AuthClient, AuthClientOptions } from '../../client/index.ts'

/** Serves one page with the client on any host name that leads to this machine. */
export type ClientPages = AsyncDisposable & {
  readonly port: number
  /** Opens the page of this host name; `act` then uses its client. */
  open(context: BrowserContext, host: string, options: AuthClientOptions): Promise<ClientPage>
}

export type ClientPage = {
  readonly page: Page
  /** Runs in the page. @returns the result, or `{ reason, message }` of the error */
  act<T>(work: (auth: AuthClient, input: any) => Promise<T>, input?: unknown): Promise<any>
}

export async function serveClientPages(): Promise<ClientPages> {
  const { outputFiles } = await build({
    entryPoints: ['client/index.ts'],
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'client',
    platform: 'browser',
  })
  const html = `<!doctype html><title>A page</title><script>${outputFiles[0]!.text}</script>`
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end(html)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    async open(context, host, options) {
      const page = await context.newPage()
      await page.goto(`http://${host}:${port}/`)
      const made = `globalThis.auth = client.createAuthClient(${JSON.stringify(options)}); undefined`
      await page.evaluate(made)
      return {
        page,
        act: (work, input) =>
          page.evaluate(
            `(${work.toString()})(auth, ${JSON.stringify(input)}).catch(({ reason, message }) => ({ reason, message }))`,
          ),
      }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
