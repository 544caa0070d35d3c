import { setTimeout } from 'node:timers/promises'
import { cli } from '../support/cli.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { auth } from '../support/http.ts'
import { noFault, startProxy } from '../support/proxy.ts'
import { freePort, startServer } from '../support/server.ts'
import { signIn } from '../support/sessions.ts'

/** The life of access tokens: so short that the client refreshes during each story. */
export const accessTokenSeconds = 4

/** The service as an example meets it: its process restarts, and the line to it can be cut. */
export type ExampleService = AsyncDisposable & {
  readonly url: string
  readonly database: FreshDatabase
  restart(): Promise<void>
  /** Every request or answer is lost until `act` is over. It begins when all access tokens of before have expired. */
  whileLost(what: 'drop-request' | 'drop-answer', act: () => Promise<void>): Promise<void>
  /** Ends all sessions of the user from another device. */
  signOutElsewhere(email: string): Promise<void>
  revoke(email: string, reason: string): Promise<void>
  rotationsOf(email: string): Promise<number>
  countOf(kind: string): Promise<number>
}

export async function startService(env: Record<string, string>): Promise<ExampleService> {
  const database = await freshDatabase()
  const [publicPort, port] = [await freePort(), await freePort()]
  const url = `http://localhost:${publicPort}`
  const start = () =>
    startServer(database.url, {
      PUBLIC_URL: url,
      PORT: String(port),
      ACCESS_TOKEN_SECONDS: String(accessTokenSeconds),
      ...env,
    })
  let server = await start()
  const proxy = await startProxy(publicPort, `http://127.0.0.1:${port}`)
  return {
    url,
    database,
    async restart() {
      await server.kill('SIGTERM')
      server = await start()
    },
    async whileLost(kind, act) {
      proxy.chooseFault = () => ({ kind })
      try {
        await setTimeout(accessTokenSeconds * 1000)
        await act()
      } finally {
        proxy.chooseFault = () => noFault
      }
    },
    async signOutElsewhere(email) {
      const { refreshToken } = await signIn({ url, owner: database }, email)
      await auth(url, 'logout', { refreshToken, everywhere: true })
    },
    async revoke(email, reason) {
      await cli(database.url, ['sessions', 'revoke-user', email, '--reason', reason])
    },
    async rotationsOf(email) {
      const rows = await database.ownerSql`
        select from token_audit.events where kind = 'rotated' and email = ${email}`
      return rows.length
    },
    async countOf(kind) {
      const rows = await database.ownerSql`select from token_audit.events where kind = ${kind}`
      return rows.length
    },
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}
