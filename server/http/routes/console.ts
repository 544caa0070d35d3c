import { readdir, readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** In `dist`, where the build puts it. A checkout that was not built has no such folder. */
const builtFolder = fileURLToPath(new URL('../../../console/', import.meta.url))

const types: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** Allows the console's own scripts, styles and pictures, and calls to its own origin. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ')

/** The names of these files contain a hash of their content. */
const hashedFiles = 'assets/'
const aYear = 'public, max-age=31536000, immutable'

const compress = promisify(gzip)

/**
 * `/console/`: the page of `client/console`. Not served if it was not built.
 *
 * The files are read once, at the start: no path of a request reaches the file system. A path below `/console/` that
 * is no file is one of the console's screens, and gets the page.
 */
export async function mountConsole(app: FastifyInstance, folder = builtFolder): Promise<void> {
  const files = await readFiles(folder)
  const page = files.get('index.html')
  if (page === undefined) return

  app.get('/console', (_request, reply) => reply.redirect('/console/', 308))
  // Never stored, so that a new version of the service comes with its own scripts at the next load.
  app.get('/console/', (request, reply) => send(page, request, reply))
  app.get('/console/*', (request, reply) => {
    const { '*': name } = request.params as { '*': string }
    const file = files.get(name)
    if (file === undefined && extname(name) !== '') return reply.callNotFound()
    if (file === undefined) return send(page, request, reply)
    void reply.header('cache-control', name.startsWith(hashedFiles) ? aYear : 'no-cache')
    return send(file, request, reply)
  })
}

type File = { readonly type: string; readonly body: Buffer; readonly gzipped: Buffer }

function send(file: File, { headers }: FastifyRequest, reply: FastifyReply): FastifyReply {
  void reply.type(file.type).headers({
    'content-security-policy': contentSecurityPolicy,
    // CORS answers by the origin.
    vary: 'Origin, accept-encoding',
  })
  if (!/\bgzip\b/.test(headers['accept-encoding'] ?? '')) return reply.send(file.body)
  return reply.header('content-encoding', 'gzip').send(file.gzipped)
}

/** By their names in the URL: those of `folder` itself and of its `assets`. Empty without a page. */
async function readFiles(folder: string): Promise<ReadonlyMap<string, File>> {
  const files = new Map<string, File>()
  const own = await namesIn(folder)
  if (!own.includes('index.html')) return files
  const assets = await namesIn(join(folder, hashedFiles))
  for (const name of [...own, ...assets.map((asset) => hashedFiles + asset)]) {
    const type = types[extname(name)]
    if (type === undefined) continue
    const body = await readFile(join(folder, name))
    files.set(name, { type, body, gzipped: await compress(body) })
  }
  return files
}

function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => [])
}
