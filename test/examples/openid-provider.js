import { generateKeyPairSync } from 'node:crypto'
import { Provider } from 'oidc-provider'

// A provider in a process of its own: node test/examples/openid-provider.js PORT APP_URL

const [port = '', appUrl = ''] = process.argv.slice(2)
const issuer = `http://localhost:${port}`
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'example',
      client_secret: 'a secret of the example',
      redirect_uris: [`${appUrl}/openid/callback`],
      post_logout_redirect_uris: [`${appUrl}/`],
      id_token_signed_response_alg: 'ES256',
    },
  ],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256' }] },
  cookies: { keys: ['a key of the provider'] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  // In the ID token as well: the example asks for no user info.
  conformIdTokenClaims: false,
  // Every account has registered the same address, and none has proved it.
  findAccount: (_ctx, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, email: 'ceo@bank.example', email_verified: false }),
  }),
})
provider.listen(Number(port), '127.0.0.1', () => console.log('listening'))
