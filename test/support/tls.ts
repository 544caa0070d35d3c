import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'node:tls'

/** Without openssl the tests over https are skipped with a warning; in CI that is an error. */
export const hasOpenssl = spawnSync('openssl', ['version']).status === 0

if (!hasOpenssl) {
  const problem = 'NO OPENSSL: the browser tests over https are skipped.'
  if (process.env.CI === 'true') throw new Error(problem)
  console.warn(`\n\x1b[1;33m!!! ${problem}\x1b[0m\n`)
}

/** Does TLS for a server on loopback, with a certificate that browsers accept only if the test allows it. */
export async function startTlsProxy(port: number, upstreamPort: number): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>()
  const server = createServer(selfSigned(), (client) => {
    const upstream = connect(upstreamPort, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket
        .on('error', () => {})
        .once('close', () => {
          client.destroy()
          upstream.destroy()
          sockets.delete(socket)
        })
    }
    client.pipe(upstream).pipe(client)
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** A certificate that nothing trusts by itself, for these names and for the addresses of loopback. */
export function selfSigned(name = '*.example.test'): { key: string; cert: string } {
  const folder = mkdtempSync(join(tmpdir(), 'token-ledger-tls-'))
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  try {
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
    const names = `subjectAltName=DNS:${name},IP:127.0.0.1`
    const files = ['-subj', `/CN=${name}`, '-addext', names, '-keyout', key, '-out', cert]
    const made = spawnSync('openssl', ['req', '-x509', ...kind, ...files], { encoding: 'utf8' })
    if (made.status !== 0) throw new Error(`openssl made no certificate: ${made.stderr}`)
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
