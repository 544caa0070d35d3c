import { chownSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { command, hasDebianPostgres, startCluster, type Cluster } from '../support/cluster.ts'
import { startSwitch } from '../support/switch.ts'
import { hasOpenssl, selfSigned } from '../support/tls.ts'
import { waitFor } from '../support/wait.ts'

const canRun = hasDebianPostgres && hasOpenssl
let cluster: Cluster
let certificate: string

beforeAll(async () => {
  if (canRun) cluster = await startCluster({ version: 15 })
}, 60_000)

afterAll(() => cluster?.[Symbol.asyncDispose]())

async function isEncrypted(url: string): Promise<boolean> {
  const database = connect(url, { maxConnections: 1 })
  try {
    const [row] = await database.statements<{ ssl: boolean }[]>`
      select ssl from pg_stat_ssl where pid = pg_backend_pid()`
    return row!.ssl
  } finally {
    await database.close()
  }
}

describe.runIf(canRun)('TLS to Postgres', () => {
  test('a server without TLS is used with prefer, and refused with require', async () => {
    expect(await isEncrypted(cluster.url())).toBe(false)
    expect(await isEncrypted(`${cluster.url()}?sslmode=prefer`)).toBe(false)
    await expect(isEncrypted(`${cluster.url()}?sslmode=require`)).rejects.toThrow('has no TLS')
  })

  test('a server with TLS is used encrypted, and with verify-full only if its certificate is trusted', async () => {
    useTls()
    await waitFor(
      () => isEncrypted(`${cluster.url()}?sslmode=require`).catch(() => false),
      'Postgres has TLS',
    )
    expect(await isEncrypted(`${cluster.url()}?sslmode=prefer`)).toBe(true)
    const verified = `${cluster.url()}?sslmode=verify-full`
    await expect(isEncrypted(verified)).rejects.toMatchObject({
      code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
    })
    const env = { NODE_EXTRA_CA_CERTS: certificate }
    const named = verified.replace('127.0.0.1', 'localhost')
    for (const url of [verified, named]) {
      expect(await command(url, ['migrate'], env)).toMatchObject({ code: 0 })
      expect(await command(url, ['ledger', 'verify'], env)).toMatchObject({ code: 0 })
    }
  })

  test('a connection that is closed during the handshake fails at once, encrypted or not', async () => {
    await using place = await startSwitch(cluster.port)
    for (const manner of ['close at once', 'close after a message', 'reset'] as const) {
      place.behave(manner)
      const url = `postgres://postgres@127.0.0.1:${place.port}/postgres?sslmode=require`
      const startedAt = performance.now()
      await expect(isEncrypted(url)).rejects.toThrow()
      expect(performance.now() - startedAt).toBeLessThan(2_000)
    }
  })
})

/** Postgres takes a certificate without a restart. */
function useTls(): void {
  const { key, cert } = selfSigned('localhost')
  const { uid, gid } = statSync(cluster.dataFolder)
  for (const [name, text] of [
    ['server.key', key],
    ['server.crt', cert],
  ] as const) {
    const file = join(cluster.dataFolder, name)
    writeFileSync(file, text, { mode: 0o600 })
    chownSync(file, uid, gid)
  }
  certificate = join(cluster.dataFolder, 'server.crt')
  const settings = "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n"
  writeFileSync(join(cluster.dataFolder, 'postgresql.auto.conf'), settings)
  cluster.reload()
}
