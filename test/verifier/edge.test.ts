import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createContext, runInContext } from 'node:vm'
import { build } from 'esbuild'
import { expect, test } from 'vitest'
import type { createVerifier } from '../../server/verifier/index.ts'
import { goodClaims, startIssuer } from './issuer.ts'

test("the verifier runs at the edge: without Node's globals and its timers, also while it follows revocations", async () => {
  await using issuer = await startIssuer()
  const ended = crypto.randomUUID()
  await using feed = await startFeed(ended)
  const token = await issuer.mint()
  const endedToken = await issuer.mint({ claims: { ...goodClaims(issuer.issuer), sid: ended } })
  const problems: unknown[] = []

  const verifier = (await loadAtTheEdge())({
    issuer: issuer.issuer,
    audience: issuer.audience,
    revocations: { token: 'secret', url: feed.url, onProblem: (error) => problems.push(error) },
  })
  const outcomes = []
  const altered = token.replace(/.$/, (last) => (last === 'A' ? 'Q' : 'A'))
  for (const text of [token, token, altered, endedToken])
    outcomes.push(
      await verifier.verify(text).then(
        () => 'accepted',
        (error: { reason?: string }) => error.reason ?? error,
      ),
    )
  expect(outcomes).toEqual(['accepted', 'accepted', 'access_token_invalid', 'access_token_revoked'])
  // The token of the ended session is good: what refuses it is asked at each call.
  expect(verifier.cacheStats()).toEqual({ size: 2, hits: 1, misses: 3 })
  // The first answer of the feed, after which it was asked again.
  expect(problems).toHaveLength(1)
  verifier.close()
})

/** The last two are there because the classes of the web make them, and `jose` asks whether a value is one. */
const globals = {
  AbortController,
  AbortSignal,
  Headers,
  Request,
  Response,
  TextDecoder,
  TextEncoder,
  URL,
  atob,
  crypto,
  performance,
  structuredClone,
  Object,
  Uint8Array,
}

/** Runs the bundled verifier where there is what an edge worker has and no more. */
async function loadAtTheEdge(): Promise<typeof createVerifier> {
  const { outputFiles } = await build({
    entryPoints: ['server/verifier/index.ts'],
    bundle: true,
    platform: 'neutral',
    mainFields: ['module', 'main'],
    format: 'iife',
    globalName: 'bundled',
    write: false,
  })
  const timers: NodeJS.Timeout[] = []
  const web = {
    ...globals,
    setTimeout: (task: () => void, ms: number) => timers.push(setTimeout(task, ms)),
    clearTimeout: (id: number) => clearTimeout(timers[id - 1]),
    async fetch(url: string | URL, init?: RequestInit) {
      // As workerd answers it.
      if (init?.redirect === 'error') throw new TypeError('Invalid redirect value')
      return fetch(url, init)
    },
  }
  const context = createContext(web)
  runInContext(outputFiles[0]!.text, context)
  return runInContext('bundled.createVerifier', context) as typeof createVerifier
}

/** A feed that is away at first, and then reports one ended session, and that it is up to date. */
async function startFeed(sid: string) {
  const endedAt = new Date().toISOString()
  let requests = 0
  const server = createServer((_request, response) => {
    if (++requests === 1) return void response.writeHead(503).end()
    response.writeHead(200, { 'Content-Type': 'text/event-stream' })
    response.write(`event: ended\nid: 1\ndata: ${JSON.stringify({ sid, endedAt })}\n\n`)
    response.write('event: checked\ndata: {"lagMs":0}\n\n')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/revocations`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}
