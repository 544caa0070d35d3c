import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from 'vitest'
import { expressVerifier } from '../../server/verifier/express.ts'
import { fastifyVerifier } from '../../server/verifier/fastify.ts'
import {
  createVerifier,
  failureResponse,
  verifyRequest,
  type AccessTokenClaims,
  type Requirements,
  type Verifier,
} from '../../server/verifier/index.ts'
import { koaVerifier } from '../../server/verifier/koa.ts'
import { nestVerifier, type NestContext, type NestGuard } from '../../server/verifier/nest.ts'
import { startIssuer, type Issuer } from './issuer.ts'

/** Answers `GET /me` with the claims, behind the adapter. */
type Service = (authorization: string | null) => Promise<Response>
type MakeService = (verifier: Verifier, requirements?: Requirements) => Service

let issuer: Issuer
let verifier: Verifier
let expected: AccessTokenClaims
let token: string
const servers: Server[] = []

beforeAll(async () => {
  issuer = await startIssuer()
  verifier = createVerifier(issuer)
  token = await issuer.mint()
  expected = await verifier.verify(token)
})
afterAll(async () => {
  for (const server of servers) server.close()
  await issuer?.[Symbol.asyncDispose]()
})

const frameworks: Record<string, MakeService> = {
  'Express 5': (guard, requirements) => {
    const app = express()
    app.use(expressVerifier(guard, requirements))
    app.get('/me', (request, response) => void response.json(request.accessToken))
    app.use(answer500)
    return over(app.listen(0, '127.0.0.1'))
  },
  Koa: (guard, requirements) => {
    const app = new Koa()
    app.silent = true
    app.use(koaVerifier(guard, requirements))
    app.use((context) => {
      context.body = context.state.accessToken
    })
    return over(app.listen(0, '127.0.0.1'))
  },
  Hono: (guard, requirements) => {
    const app = new Hono<{ Variables: { accessToken: AccessTokenClaims } }>()
    app.use(async (context, next) => {
      context.set('accessToken', await verifyRequest(guard, context.req.raw, requirements))
      await next()
    })
    app.get('/me', (context) => context.json(context.get('accessToken')))
    app.onError((error) => failureResponse(error) ?? new Response(null, { status: 500 }))
    return async (authorization) => app.request('/me', { headers: headersOf(authorization) })
  },
  'a handler of web-standard requests': (guard, requirements) => {
    const GET = async (request: Request) => {
      try {
        return Response.json(await verifyRequest(guard, request, requirements))
      } catch (error) {
        return failureResponse(error) ?? new Response(null, { status: 500 })
      }
    }
    return (authorization) =>
      GET(new Request('https://api.example.com/me', { headers: headersOf(authorization) }))
  },
  'Nest, by the shapes of its context and exception': (guard, requirements) => (authorization) =>
    answerOfNest(nestVerifier(guard, HttpException, requirements), headersOf(authorization)),
  Fastify: (guard, requirements) => async (authorization) => {
    const app = fastify()
    await app.register(fastifyVerifier(guard, requirements))
    app.get('/me', (request) => request.accessToken)
    const { statusCode, headers, body } = await app.inject({
      url: '/me',
      headers: headersOf(authorization),
    })
    return new Response(body, { status: statusCode, headers: headers as Record<string, string> })
  },
}

describe.each(Object.entries(frameworks))('%s', (_name, make) => {
  test('a handler reads the claims of a valid token', async () => {
    const answer = await make(verifier)(`Bearer ${token}`)
    expect(answer.status).toBe(200)
    expect(await answer.json()).toEqual(expected)
  })

  test.each([
    ['no header', () => null, 'access_token_missing'],
    ['another scheme', () => 'Basic dTpw', 'access_token_missing'],
    ['a text that is no token', () => 'Bearer text', 'access_token_invalid'],
    ['two tokens', () => `Bearer ${token}, Bearer ${token}`, 'access_token_invalid'],
  ])('%s is answered with 401 and the reason', async (_case, authorization, reason) => {
    const answer = await make(verifier)(authorization())
    expect(answer.status).toBe(401)
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer realm="token-ledger"/)
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(await answer.json()).toMatchObject({ error: { data: { httpStatus: 401, reason } } })
  })

  test('a sign-in that is too long ago is answered with 401 and the challenge of RFC 9470 §3', async () => {
    // The token says that its user authenticated a minute ago.
    expect((await make(verifier, { maxAuthAgeSeconds: 90 })(`Bearer ${token}`)).status).toBe(200)
    const answer = await make(verifier, { maxAuthAgeSeconds: 30 })(`Bearer ${token}`)
    expect(answer.status).toBe(401)
    expect(answer.headers.get('www-authenticate')).toBe(
      'Bearer realm="token-ledger", error="insufficient_user_authentication", ' +
        'error_description="A more recent authentication is required.", max_age=30',
    )
    expect(await answer.json()).toMatchObject({
      error: { data: { httpStatus: 401, reason: 'step_up_required', maxAgeSeconds: 30 } },
    })
  })

  test('keys that cannot be fetched are answered with 503, which signs no user out', async () => {
    const url = 'http://127.0.0.1:9'
    const lost = createVerifier({ issuer: issuer.issuer, audience: issuer.audience, jwksUrl: url })
    const answer = await make(lost)(`Bearer ${token}`)
    expect(answer.status).toBe(503)
    expect(answer.headers.get('retry-after')).toBe('5')
    expect(await answer.json()).toMatchObject({
      error: { data: { reason: 'service_unavailable' } },
    })
  })

  test('an error that is not about a token is left to the framework', async () => {
    const fail = async () => {
      throw new Error('a bug')
    }
    const answer = await make({ verify: fail, verifyAuthorization: fail })(`Bearer ${token}`)
    expect(answer.status).toBe(500)
    expect(await answer.text()).not.toContain('reason')
  })
})

test('the types of the frameworks know the claims', () => {
  expectTypeOf<express.Request['accessToken']>().toEqualTypeOf<AccessTokenClaims | undefined>()
  expectTypeOf(expressVerifier).returns.toExtend<express.RequestHandler>()
})

function headersOf(authorization: string | null): Record<string, string> {
  return authorization === null ? {} : { authorization }
}

function over(server: Server): Service {
  servers.push(server)
  return async (authorization) => {
    if (!server.listening) await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    return fetch(`http://127.0.0.1:${port}/me`, { headers: headersOf(authorization) })
  }
}

const answer500: express.ErrorRequestHandler = (_error, _request, response, _next) =>
  void response.status(500).end()

/** What Nest does with a guard and a controller that returns the claims. */
async function answerOfNest(guard: NestGuard, headers: Record<string, string>): Promise<Response> {
  const request = { headers }
  const sent = new Headers()
  const response = { header: (name: string, value: string) => sent.set(name, value) }
  const context: NestContext = {
    switchToHttp: () => ({ getRequest: () => request, getResponse: () => response }),
  }
  try {
    expect(await guard.canActivate(context)).toBe(true)
    return Response.json((request as { accessToken?: AccessTokenClaims }).accessToken)
  } catch (error) {
    if (!(error instanceof HttpException)) return new Response(null, { status: 500 })
    return new Response(JSON.stringify(error.body), { status: error.status, headers: sent })
  }
}

class HttpException extends Error {
  constructor(body: Record<string, unknown>, status: number) {
    super('HttpException')
    this.body = body
    this.status = status
  }
  readonly body: Record<string, unknown>
  readonly status: number
}
