import type { FastifyInstance } from 'fastify'

/** Nothing of ours needs more; a refresh is a hundred bytes. */
export const bodyLimit = 16 * 1024

/**
 * In this scope a body is `application/json` or it is refused, with 415 (OWASP ASVS 5.0, 3.5.2): the
 * types a page may send across origins without asking first are then no way in.
 *
 * @param read what becomes of the text; a SyntaxError is answered 400
 */
export function acceptJsonOnly(app: FastifyInstance, read: (text: string) => unknown): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<string>(
    'application/json',
    { parseAs: 'string', bodyLimit },
    (_request, text, done) => {
      try {
        done(null, read(text))
      } catch (error) {
        done(error instanceof Error ? error : new Error('unreadable body'))
      }
    },
  )
}
