// A program of its own: three services that accept access tokens and know nothing but the address of the
// keys. It prints where they listen and ends when its standard input ends.
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { initTRPC, TRPCError } from '@trpc/server'
import { createHTTPServer } from '@trpc/server/adapters/standalone'
import fastify from 'fastify'
import { createVerifier } from '../../server/verifier/verifier.ts'
import { expressVerifier, type VerifiedRequest } from '../../server/verifier/express.ts'
import { fastifyVerifier } from '../../server/verifier/fastify.ts'
import {
  errorFormatter,
  trpcVerifier,
  type AccessTokenContext,
} from '../../server/verifier/trpc.ts'

const { ISSUER = '', AUDIENCE = '', JWKS_URL, REVOCATIONS_TOKEN, WHEN_BEHIND } = process.env
const verifier = createVerifier({
  issuer: ISSUER,
  audience: AUDIENCE,
  jwksUrl: JWKS_URL,
  ...(REVOCATIONS_TOKEN && {
    revocations: {
      token: REVOCATIONS_TOKEN,
      whenBehind: WHEN_BEHIND === 'accept' ? 'accept' : 'refuse',
    },
  }),
})

const app = fastify()
app.get('/open', () => ({ open: true }))
app.get('/unguarded', (request) => ({ userId: request.accessToken.userId }))
await app.register(async (api) => {
  await api.register(fastifyVerifier(verifier))
  api.get('/me', (request) => ({ result: { data: request.accessToken } }))
  api.post('/me', (request) => ({ result: { data: request.accessToken } }))
})

const guard = expressVerifier(verifier)
const plain = createServer((request: VerifiedRequest, response) => {
  guard(request, response, (error) => {
    response.statusCode = error ? 500 : 200
    response.end(JSON.stringify({ result: { data: request.accessToken } }))
  })
})

const auth = trpcVerifier(verifier, TRPCError)
const t = initTRPC.context<AccessTokenContext>().create({ errorFormatter })
const signedIn = t.procedure.use(async ({ ctx, next }) =>
  next({ ctx: { accessToken: await ctx.readAccessToken() } }),
)
const router = t.router({
  open: t.procedure.query(() => ({ open: true })),
  me: signedIn.query(({ ctx }) => ctx.accessToken),
})
const trpc = createHTTPServer({
  router,
  createContext: auth.createContext,
  responseMeta: auth.responseMeta,
})

await app.listen({ host: '127.0.0.1', port: 0 })
const addresses = {
  fastify: addressOf(app.server),
  express: await listen(plain),
  trpc: await listen(trpc),
}
console.log(JSON.stringify(addresses))
process.stdin.resume().on('end', () => process.exit(0))

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return addressOf(server)
}

function addressOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
