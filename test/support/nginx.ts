import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const executablePath = [process.env.NGINX, '/usr/sbin/nginx'].find(
  (path) => path !== undefined && existsSync(path),
)

/** Without nginx the tests of caches and proxies are skipped with a warning; in CI that is an error. */
export const hasNginx = executablePath !== undefined

if (!hasNginx) {
  const problem =
    'NO NGINX: the tests of caches and proxies are skipped. Install it (apt-get install nginx-light) or set NGINX.'
  if (process.env.CI === 'true') throw new Error(problem)
  console.warn(`\n\x1b[1;33m!!! ${problem}\x1b[0m\n`)
}

const startTimeoutMs = 10_000

/** A proxy as the manual's first example configures it: it passes requests on, and adds no header. */
export async function startBareProxy(port: number, upstream: string): Promise<AsyncDisposable> {
  return startNginx(port, '', `proxy_pass http://${new URL(upstream).host};`)
}

/**
 * A cache in front of the service, as careless as possible: it stores every answer, whatever the method and the
 * status, unless its headers forbid that, and gives it to every client that asks for the same URL.
 */
export async function startCache(port: number, upstream: string): Promise<AsyncDisposable> {
  return startNginx(
    port,
    'proxy_cache_path cache keys_zone=everything:1m;',
    `
          proxy_pass http://${new URL(upstream).host};
          proxy_set_header Host $http_host;
          proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
          proxy_cache everything;
          proxy_cache_methods GET HEAD POST;
          proxy_cache_key $request_method$request_uri;
          proxy_cache_valid any 10m;
          proxy_ignore_headers Set-Cookie Vary;
          add_header X-Cache $upstream_cache_status always;`,
  )
}

async function startNginx(port: number, http: string, location: string): Promise<AsyncDisposable> {
  const folder = mkdtempSync(join(tmpdir(), 'token-ledger-nginx-'))
  writeFileSync(join(folder, 'nginx.conf'), configuration(port, http, location))
  const child = spawn(executablePath!, ['-p', folder, '-c', 'nginx.conf', '-e', 'error.log'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let output = ''
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const exited = once(child, 'exit')
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    await exited
    rmSync(folder, { recursive: true })
  }
  const deadlineAt = Date.now() + startTimeoutMs
  while (!(await answers(port))) {
    if (child.exitCode !== null || Date.now() > deadlineAt) {
      await stop()
      throw new Error(`nginx did not start: ${output}`)
    }
    await sleep(50)
  }
  return { [Symbol.asyncDispose]: stop }
}

function configuration(port: number, http: string, location: string): string {
  return `
    ${process.getuid?.() === 0 ? `user ${userInfo().username};` : ''}
    daemon off;
    worker_processes 1;
    pid nginx.pid;
    events {}
    http {
      access_log off;
      client_body_temp_path body;
      proxy_temp_path proxy;
      fastcgi_temp_path fastcgi;
      uwsgi_temp_path uwsgi;
      scgi_temp_path scgi;
      ${http}
      server {
        listen 127.0.0.1:${port};
        location / {
          ${location}
        }
      }
    }`
}

async function answers(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/healthz`).then(
    () => true,
    () => false,
  )
}
