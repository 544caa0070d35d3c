// An app whose users sign in at an OpenID Connect provider. The sessions are token-ledger's.
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import fastify from 'fastify'
import * as openid from 'openid-client'
import { connect, loadConfig, rolesOf, tokenLedger } from 'token-ledger'

const { OPENID_ISSUER, OPENID_CLIENT_ID, OPENID_CLIENT_SECRET } = process.env
const config = loadConfig(process.env)
const appUrl = config.publicUrl
const redirectUri = `${appUrl}/openid/callback`
/** Seconds in which the user has to come back from the provider. */
const flowSeconds = 600

const isLocal = new URL(OPENID_ISSUER).protocol === 'http:'
const provider = await openid.discovery(
  new URL(OPENID_ISSUER),
  OPENID_CLIENT_ID,
  OPENID_CLIENT_SECRET,
  undefined,
  // For a provider on this machine alone.
  isLocal ? { execute: [openid.allowInsecureRequests] } : {},
)

// Put these into tables of your own: the people by id, and the id of each account at a provider.
const people = new Map()
const linked = new Map()

/** An account is its issuer and its `sub`. Its address proves nothing: anyone may have registered it there. */
function personOf({ iss, sub, email, email_verified: emailVerified }) {
  const account = JSON.stringify([iss, sub])
  const id = linked.get(account) ?? randomUUID()
  linked.set(account, id)
  const person = { id, email, emailVerified: emailVerified === true, role: 'user', disabled: false }
  people.set(id, person)
  return person
}

const users = {
  findByEmail: async () => null,
  findMany: async (ids) =>
    new Map(ids.flatMap((id) => (people.has(id) ? [[id, people.get(id)]] : []))),
  checkPassword: async () => false,
}

const app = fastify()
const database = connect(config.databaseUrl, { role: (await rolesOf(config.databaseUrl)).app })
await app.register(tokenLedger, { config, database, users })

app.get('/', async (_request, reply) =>
  reply.type('text/html').send(await readFile(new URL('page.html', import.meta.url))),
)

app.get('/openid/sign-in', async (_request, reply) => {
  const flow = {
    state: openid.randomState(),
    nonce: openid.randomNonce(),
    verifier: openid.randomPKCECodeVerifier(),
  }
  const url = openid.buildAuthorizationUrl(provider, {
    redirect_uri: redirectUri,
    scope: 'openid email',
    state: flow.state,
    nonce: flow.nonce,
    code_challenge: await openid.calculatePKCECodeChallenge(flow.verifier),
    code_challenge_method: 'S256',
    // So that the ID token says when the user was asked.
    max_age: '3600',
  })
  // Only the browser that began may finish: another one has no such cookie.
  return reply
    .header('set-cookie', cookie('openid_flow', encode(flow), flowSeconds))
    .redirect(url.href)
})

app.get('/openid/callback', async (request, reply) => {
  const { state, nonce, verifier } = decode(cookieOf(request, 'openid_flow')) ?? {}
  if (state === undefined) return reply.code(400).send('Begin the sign-in again.')
  void reply.header('set-cookie', cookie('openid_flow', '', 0))
  let tokens
  try {
    tokens = await openid.authorizationCodeGrant(provider, new URL(request.url, appUrl), {
      expectedState: state,
      expectedNonce: nonce,
      pkceCodeVerifier: verifier,
      idTokenExpected: true,
      maxAge: 3600,
    })
  } catch {
    return reply.code(400).send('The sign-in failed. Begin it again.')
  }
  const claims = tokens.claims()
  await app.startSession(request, reply, {
    user: personOf(claims).id,
    methods: claims.amr ?? ['fed'],
    authenticatedAt: claims.auth_time * 1000,
    transport: 'cookie',
  })
  // The provider asks for it when the user signs out there as well.
  return reply.header('set-cookie', cookie('openid_id', tokens.id_token, 30 * 86_400)).redirect('/')
})

// The page has ended the session here. This ends the one at the provider, which asks the user first.
app.get('/openid/sign-out', async (request, reply) => {
  const url = openid.buildEndSessionUrl(provider, {
    id_token_hint: cookieOf(request, 'openid_id') ?? '',
    post_logout_redirect_uri: `${appUrl}/`,
  })
  return reply.header('set-cookie', cookie('openid_id', '', 0)).redirect(url.href)
})

await app.listen({ host: config.host, port: config.port })
console.log(`The example listens on ${appUrl}.`)

/** `Lax`, because the provider sends the user back from another site. */
function cookie(name, value, seconds) {
  const secure = config.isSecure ? '; Secure' : ''
  return `${name}=${value}; Path=/openid; Max-Age=${seconds}; HttpOnly; SameSite=Lax${secure}`
}

function cookieOf(request, name) {
  const pairs = (request.headers.cookie ?? '').split('; ')
  return pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1)
}

function encode(flow) {
  return Buffer.from(JSON.stringify(flow)).toString('base64url')
}

function decode(value) {
  try {
    return JSON.parse(Buffer.from(value ?? '', 'base64url').toString())
  } catch {
    return null
  }
}
