import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { blocksOf, readPage } from '../docs/pages.ts'
import { goodClaims, nowSeconds, startIssuer } from './issuer.ts'
import type { Issuer } from './issuer.ts'

const run = promisify(execFile)
const python = await pythonWithPyJwt()
if (!python) {
  if (process.env.CI === 'true') throw new Error('there is no Python with PyJWT')
  console.warn(
    '\n*** SKIPPED: no Python with PyJWT. `apt-get install python3-jwt python3-cryptography`, ***' +
      '\n*** or set PYTHON, to prove that a service in Python accepts our tokens.             ***\n',
  )
}

describe.skipIf(!python)(
  'a service in Python, with PyJWT and the lines of docs/guides/services.md',
  () => {
    let issuer: Issuer

    beforeAll(async () => {
      issuer = await startIssuer()
    })

    afterAll(async () => {
      await issuer?.[Symbol.asyncDispose]()
    })

    /** The user id it prints, or the name of the exception it ends with. */
    async function verdictOn(token: string): Promise<string> {
      try {
        const args = [
          '-c',
          programIn('docs/guides/services.md'),
          issuer.issuer,
          issuer.audience,
          token,
        ]
        const { stdout } = await run(python!, args)
        return stdout.trim()
      } catch (error) {
        const trace = (error as { stderr: string }).stderr.trim().split('\n')
        return trace.at(-1)!.split(':')[0]!
      }
    }

    test('accepts an access token', async () => {
      expect(await verdictOn(await issuer.mint())).toBe(goodClaims(issuer.issuer)['sub'])
    })

    test('refuses one that was changed', async () => {
      const [header, , signature] = (await issuer.mint()).split('.')
      const claims = { ...goodClaims(issuer.issuer), role: 'admin' }
      const payload = Buffer.from(JSON.stringify(claims)).toString('base64url')
      expect(await verdictOn(`${header}.${payload}.${signature}`)).toMatch(/InvalidSignatureError/)
    })

    test.each([
      ['another audience', { claims: { aud: 'https://other.example' } }, /InvalidAudienceError/],
      ['another issuer', { claims: { iss: 'https://evil.example' } }, /InvalidIssuerError/],
      ['typ JWT', { header: { typ: 'JWT' } }, /InvalidTokenError/],
      ['no sid', { claims: { sid: undefined } }, /MissingRequiredClaimError/],
      ['an end in the past', { claims: { exp: nowSeconds() - 60 } }, /ExpiredSignatureError/],
      ['an unknown kid', { header: { kid: 'key-2' } }, /PyJWKClientError/],
    ])('refuses one with %s', async (_name, change, verdict) => {
      expect(await verdictOn(await issuer.mint(change))).toMatch(verdict)
    })
  },
)

/** The page's program for the issuer and the audience it is called with; it prints the user id. */
function programIn(path: string): string {
  const block = blocksOf(readPage(path)).find(({ language }) => language === 'python')
  const lines = block!.text
    .replace(/^ISSUER = ".*"$/m, 'ISSUER = sys.argv[1]')
    .replace(/^AUDIENCE = ".*"$/m, 'AUDIENCE = sys.argv[2]')
  expect(lines.match(/sys\.argv/g)).toHaveLength(2)
  return `import sys\n${lines}\nprint(verify(sys.argv[3])["sub"])`
}

/** `PYTHON`, the one in the path or Debian's own: the first that can import PyJWT. */
async function pythonWithPyJwt(): Promise<string | null> {
  for (const candidate of [process.env['PYTHON'], 'python3', '/usr/bin/python3']) {
    if (!candidate) continue
    const found = await run(candidate, ['-c', 'import jwt, cryptography; jwt.PyJWKClient']).then(
      () => true,
      () => false,
    )
    if (found) return candidate
  }
  return null
}
