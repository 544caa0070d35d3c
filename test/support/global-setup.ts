import { execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import type { TestProject } from 'vitest/node'
import { migrate } from '../../db/migrate.ts'
import { usualRoles } from '../../db/roles.ts'
import { admitServiceLogin } from '../../db/service-login.ts'
import { startEmbeddedPostgres } from '../../server/embedded-postgres/start.ts'
import { asAdmin, databaseUrl, dropDatabases, dropLogin, serviceUrl } from './admin.ts'
import { testPostgresSettings as settings } from './postgres-settings.ts'
import { buildPrograms } from './programs.ts'
import { makeQuickFolder } from './quick-folder.ts'

/** What a worker needs to create databases of its own: see `freshDatabase`. */
export type TestDatabases = {
  readonly adminUrl: string
  /** A migrated, empty database. Tests do not connect to it: Postgres copies a database only without connections. */
  readonly template: string
}

declare module 'vitest' {
  interface ProvidedContext {
    testDatabases: TestDatabases
  }
}

type Server = { readonly adminUrl: string; stop(): Promise<unknown> }

const oldMs = 6 * 3600 * 1000

/** Once per run: starts a server and makes one migrated database, from which each test's own is copied. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  execFileSync('npm', ['run', '--silent', 'test:packages'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const removePrograms = await buildPrograms()
  const server = await startServer()
  try {
    const run = `token_ledger_test_${Date.now()}_${process.pid}`
    const template = await makeTemplate(server.adminUrl, run)
    const serviceName = `${run}_service`
    process.env['TEST_SERVICE_LOGIN'] = `${serviceName}:${randomUUID()}`
    await admitServiceLogin(databaseUrl(server.adminUrl, template), serviceUrl(server.adminUrl))
    project.provide('testDatabases', { adminUrl: server.adminUrl, template })
    return async () => {
      await asAdmin(server.adminUrl, (admin) => dropDatabases(admin, (made) => made.run === run))
      await dropLogin(server.adminUrl, serviceName)
      await server.stop()
      removePrograms()
    }
  } catch (error) {
    await server.stop()
    removePrograms()
    throw error
  }
}

async function makeTemplate(adminUrl: string, run: string): Promise<string> {
  const template = `${run}_template`
  await asAdmin(adminUrl, async (admin) => {
    // Killed runs leave their databases behind on a server that outlives them.
    await dropDatabases(admin, (made) => made.startedAt < Date.now() - oldMs)
    await admin`create database ${admin(template)}`
  })
  // Also where other databases of this server use them.
  await migrate(databaseUrl(adminUrl, template), { roles: usualRoles })
  return template
}

async function startServer(): Promise<Server> {
  if (process.env.TEST_CONTAINERS === '1') return startContainer()
  const given = process.env.DATABASE_URL
  if (given !== undefined && given !== '') return { adminUrl: given, stop: async () => {} }
  return startEmbedded()
}

async function startEmbedded(): Promise<Server> {
  const dataDir = makeQuickFolder('token-ledger-test-')
  // Also for the user as whom Postgres runs when root starts it. The files inside stay closed to others.
  chmodSync(dataDir, 0o711)
  const cleaner = removeWhenOver(dataDir)
  const server = await startEmbeddedPostgres({ dataDir, settings }).catch(
    async (error: unknown) => {
      await cleaner.remove()
      throw error
    },
  )
  return {
    adminUrl: server.url,
    stop: async () => {
      await server.stop()
      await cleaner.remove()
    },
  }
}

async function startContainer(): Promise<Server> {
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql')
  const parameters = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const container = await new PostgreSqlContainer('postgres:17-alpine')
    .withCommand(['postgres', ...parameters])
    .start()
  return { adminUrl: container.getConnectionUri(), stop: () => container.stop() }
}

/** Removes the folder even if this run is killed: a separate process waits until its stdin closes. */
function removeWhenOver(folder: string): { remove(): Promise<unknown> } {
  const script = `
    while read -r _; do :; done
    for _ in 1 2 3 4 5 6 7 8 9 10; do [ -e "$0/postgres/cluster/postmaster.pid" ] && sleep 1; done
    rm -rf "$0"
  `
  const child = spawn('/bin/sh', ['-c', script, folder], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  return {
    remove: () => {
      const exited = once(child, 'exit')
      child.stdin.end()
      return exited
    },
  }
}
