import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { nodeArguments } from '../support/programs.ts'

export const adapters = ['fastify', 'express', 'trpc'] as const
export type Adapter = (typeof adapters)[number]

/** Where the tokens come from: the stand-in of these tests or a running service. */
export type TokenSource = {
  readonly issuer: string
  readonly audience: string
  readonly jwksUrl?: string
  /** Followed when given. */
  readonly revocations?: { readonly token: string; readonly whenBehind?: 'accept' }
}

export type ServiceAnswer = {
  readonly status: number
  readonly reason: string | undefined
  readonly data: unknown
  readonly headers: Headers
}

export type Services = AsyncDisposable & {
  readonly addresses: Readonly<Record<Adapter, string>>
  /** `GET /me` with this `Authorization` header; null sends none. */
  me(adapter: Adapter, authorization: string | null): Promise<ServiceAnswer>
}

/** Starts `services.ts` as a second process without a database. */
export async function startServices(source: TokenSource): Promise<Services> {
  const child = spawn(process.execPath, nodeArguments('test/verifier/services.ts'), {
    stdio: ['pipe', 'pipe', 'inherit'],
    // Nothing else of this process's environment: no DATABASE_URL, no secret.
    env: {
      PATH: process.env['PATH'],
      ISSUER: source.issuer,
      AUDIENCE: source.audience,
      ...(source.jwksUrl && { JWKS_URL: source.jwksUrl }),
      ...(source.revocations && {
        REVOCATIONS_TOKEN: source.revocations.token,
        WHEN_BEHIND: source.revocations.whenBehind,
      }),
    },
  })
  const exited = once(child, 'exit')
  const started = once(createInterface(child.stdout), 'line').then(([line]) => String(line))
  const early = exited.then(() => Promise.reject(new Error('the services did not start')))
  // This matters only until the first line.
  early.catch(() => {})
  const addresses = JSON.parse(await Promise.race([started, early])) as Services['addresses']

  return {
    addresses,
    async me(adapter, authorization) {
      const headers = authorization === null ? {} : { authorization }
      return answerOf(await fetch(`${addresses[adapter]}/me`, { headers }))
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await exited
    },
  }
}

export async function answerOf(response: Response): Promise<ServiceAnswer> {
  const body = JSON.parse((await response.text()) || '{}') as {
    result?: { data: unknown }
    error?: { data?: { reason?: string } }
  }
  return {
    status: response.status,
    reason: body.error?.data?.reason,
    data: body.result?.data,
    headers: response.headers,
  }
}
