import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { FastifyInstance } from 'fastify'

/** In `dist`, where the build puts it; the folder among the sources has no `page.js`. */
const builtFolder = fileURLToPath(new URL('../../../client/example/', import.meta.url))

const files = {
  'index.html': 'text/html; charset=utf-8',
  'page.js': 'text/javascript; charset=utf-8',
  'page.css': 'text/css; charset=utf-8',
}

/** Allows the page's own script and style, and calls to its own origin. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ')

/**
 * `/example/`: the page of `client/example`, to try the service out. Not served if it was not built.
 *
 * Three files are read once, by name: no path of a request reaches the file system.
 */
export async function mountExamplePage(app: FastifyInstance, folder = builtFolder): Promise<void> {
  const contents = await Promise.all(
    Object.entries(files).map(async ([name, type]) => ({
      name,
      type,
      body: await readFile(join(folder, name)).catch(() => null),
    })),
  )
  if (contents.some(({ body }) => body === null)) return

  app.get('/example', (_request, reply) => reply.redirect('/example/', 308))
  for (const { name, type, body } of contents) {
    const path = name === 'index.html' ? '/example/' : `/example/${name}`
    app.get(path, (_request, reply) =>
      reply
        .type(type)
        .header('content-security-policy', contentSecurityPolicy)
        .header('cache-control', 'no-cache')
        .send(body),
    )
  }
}
