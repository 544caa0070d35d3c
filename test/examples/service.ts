import { cli } from '../support/cli.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { auth } from '../support/http.ts'
import { noFault, startProxy, type FaultyProxy } from '../support/proxy.ts'
import { freePort, startServer } from '../support/server.ts'
import { signIn } from '../support/sessions.ts'

/** So short that the client refreshes during each story. */
const accessTokenSeconds = 4

/** The service as an example meets it: its process restarts, and the line to it can be cut. */
export type ExampleService = AsyncDisposable & {
  readonly url: string
  readonly proxy: FaultyProxy
  readonly database: FreshDatabase
  restart(): Promise<void>
  /** No request reaches the service until `act` is over, which gets a function that counts the lost ones. */
  whileAway(act: (lost: () => number) => Promise<void>): Promise<void>
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
    proxy,
    database,
    async restart() {
      await server.kill('SIGTERM')
      server = await start()
    },
    async whileAway(act) {
      let lost = 0
      proxy.chooseFault = () => {
        lost += 1
        return { kind: 'drop-request' }
      }
      await act(() => lost)
      proxy.chooseFault = () => noFault
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
