import { readdir, readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { FastifyInstance, FastifyReply } from 'fastify'

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
  app.get('/console/', (_request, reply) => sendPage(reply, page))
  app.get('/console/*', (request, reply) => {
    const { '*': name } = request.params as { '*': string }
    const file = files.get(name)
    if (file === undefined)
      return extname(name) === '' ? sendPage(reply, page) : reply.callNotFound()
    return reply
      .type(file.type)
      .headers({
        'content-security-policy': contentSecurityPolicy,
        'cache-control': name.startsWith(hashedFiles) ? aYear : 'no-cache',
      })
      .send(file.body)
  })
}

type File = { readonly type: string; readonly body: Buffer }

/** Never stored, so that a new version of the service comes with its own scripts at the next load. */
function sendPage(reply: FastifyReply, { type, body }: File): FastifyReply {
  return reply.type(type).header('content-security-policy', contentSecurityPolicy).send(body)
}

/** By their names in the URL: those of `folder` itself and of its `assets`. Empty without a page. */
async function readFiles(folder: string): Promise<ReadonlyMap<string, File>> {
  const files = new Map<string, File>()
  const own = await namesIn(folder)
  if (!own.includes('index.html')) return files
  const assets = await namesIn(join(folder, hashedFiles))
  for (const name of [...own, ...assets.map((asset) => hashedFiles + asset)]) {
    const type = types[extname(name)]
    if (type !== undefined) files.set(name, { type, body: await readFile(join(folder, name)) })
  }
  return files
}

function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => [])
}
