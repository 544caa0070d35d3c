import type { FastifyInstance } from 'fastify'

/** No procedure needs more; a refresh has about a hundred bytes. */
export const bodyLimit = 16 * 1024

/**
 * Accepts only `application/json` bodies in this scope; others are answered 415 (OWASP ASVS 5.0, 3.5.2).
 * A page can therefore not use the content types that need no CORS preflight.
 *
 * @param read parses the text of the body; a SyntaxError is answered 400
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
