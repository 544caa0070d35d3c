import { chmodSync, rmSync } from 'node:fs'
import postgres, { type Sql } from 'postgres'
import { migrate } from '../../db/migrate.ts'
import { databaseUrl } from '../support/admin.ts'
import { startOwner } from '../support/owner-process.ts'
import { makeQuickFolder } from '../support/quick-folder.ts'
import { freePort, startServer, type ServerProcess } from '../support/server.ts'
import { makeUser } from '../support/users.ts'
import { startDatabaseWire, startWire, type Wire } from '../support/wire.ts'

/** A service whose every part can be broken: a Postgres of its own, a server process, and the wires to both. */
export type Rig = AsyncDisposable & {
  /** Where clients reach the server; the same after a restart. */
  readonly url: string
  /** The one user of all clients. */
  readonly email: string
  /** Other users, more than the service has connections. */
  readonly bystanders: readonly string[]
  /** Between clients and the server. */
  readonly line: Wire
  /** Between the server and Postgres. */
  readonly wire: Wire
  /** Where Postgres keeps its data: its processes are found and killed by it. */
  readonly dataDir: string
  server(): ServerProcess
  /** As a supervisor does; resolves once the server is ready. */
  startServer(): Promise<void>
  /** Queries the service's database directly, as its owner. */
  ask<T>(work: (sql: Sql) => Promise<T>, database?: string): Promise<T>
}

/** No grace window: what a retry is forgiven, it is forgiven for its attempt. */
const settings = { ROTATION_GRACE_SECONDS: '0', MAX_SESSIONS_PER_USER: '10000' }

export async function startRig(): Promise<Rig> {
  const dataDir = makeQuickFolder('token-ledger-faults-')
  // Also for the user as whom Postgres runs when root starts it.
  chmodSync(dataDir, 0o711)
  const owner = startOwner(dataDir)
  const postgresUrl = await owner.url
  await migrate(postgresUrl)
  const { email } = await makeUser(postgresUrl)
  const bystanders: string[] = []
  for (let i = 0; i < 12; i++) bystanders.push((await makeUser(postgresUrl)).email)
  const wire = await startDatabaseWire(postgresUrl)
  const port = await freePort()
  const start = () => startServer(wire.url, { ...settings, PORT: String(port) })
  let server = await start()
  const line = await startWire({ host: '127.0.0.1', port })
  return {
    url: `http://127.0.0.1:${line.port}`,
    email,
    bystanders,
    line,
    wire,
    dataDir,
    server: () => server,
    async startServer() {
      server = await start()
    },
    async ask(work, database) {
      const url = database === undefined ? postgresUrl : databaseUrl(postgresUrl, database)
      const sql = postgres(url, { max: 1, onnotice: () => {} })
      try {
        return await work(sql)
      } finally {
        await sql.end({ timeout: 1 })
      }
    },
    async [Symbol.asyncDispose]() {
      await line[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
      await wire[Symbol.asyncDispose]()
      await owner.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}
