import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { goodClaims, nowSeconds, startIssuer } from './issuer.ts'
import type { Issuer } from './issuer.ts'

const run = promisify(execFile)
const program = fileURLToPath(new URL('verify.py', import.meta.url))
const python = await pythonWithPyJwt()
if (!python) {
  console.warn(
    '\n*** SKIPPED: no Python with PyJWT. `apt-get install python3-jwt python3-cryptography`, ***' +
      '\n*** or set PYTHON, to prove that a service in Python accepts our tokens.             ***\n',
  )
}

describe.skipIf(!python)('a service in Python, with PyJWT and fifteen lines of its own', () => {
  let issuer: Issuer

  beforeAll(async () => {
    issuer = await startIssuer()
  })

  afterAll(async () => {
    await issuer?.[Symbol.asyncDispose]()
  })

  /** The user id it prints, or the name of the exception it ends with. */
  async function verdictOn(token: string): Promise<string> {
    const url = `${issuer.issuer}/.well-known/jwks.json`
    try {
      const { stdout } = await run(python!, [program, url, issuer.issuer, issuer.audience, token])
      return stdout.trim()
    } catch (error) {
      const trace = (error as { stderr: string }).stderr.trim().split('\n')
      return trace.at(-1)!.split(':')[0]!
    }
  }

  test('the Python service accepts an access token', async () => {
    expect(await verdictOn(await issuer.mint())).toBe(goodClaims(issuer.issuer)['sub'])
  })

  test('the Python service refuses a token that was changed', async () => {
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
  ])('the Python service refuses a token with %s', async (_name, change, verdict) => {
    expect(await verdictOn(await issuer.mint(change))).toMatch(verdict)
  })
})

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
