import { build } from 'esbuild'
import { createContext, runInContext } from 'node:vm'
import { expect, test } from 'vitest'
import type { serverSession } from '../../../client/server/index.ts'

/** What every edge runtime has (the WinterTC minimum common API), and nothing of Node or of a page. */
const globals = {
  AbortController,
  atob,
  btoa,
  clearTimeout,
  crypto,
  Headers,
  Response,
  setTimeout,
  TextDecoder,
  TextEncoder,
  URL,
}

test('the entry needs no package and no runtime but web standards', async () => {
  const { outputFiles, metafile } = await build({
    entryPoints: ['client/server/index.ts'],
    bundle: true,
    packages: 'external',
    platform: 'neutral',
    format: 'iife',
    globalName: 'entry',
    write: false,
    metafile: true,
  })
  const imports = Object.values(metafile.inputs).flatMap((input) => input.imports)
  expect(imports.filter(({ external }) => external)).toEqual([])

  const answer = {
    accessToken: 'an.access.token',
    expiresIn: 900,
    familyId: '0190b5d2-0000-7000-8000-000000000001',
    refreshExpiresAt: new Date(Date.now() + 3_600_000).toISOString(),
    refreshToken: 'tlr1.a.refresh.token',
    user: { id: '1', email: 'ada@example.com', role: 'user' },
  }
  const fetch = async () => Response.json({ result: { data: answer } })
  const context = createContext({ ...globals, fetch })
  runInContext(outputFiles[0]!.text, context)
  const { entry } = context as { entry: { serverSession: typeof serverSession } }
  const session = entry.serverSession({
    baseUrl: 'https://auth.example.com',
    cookie: { secret: 's'.repeat(32) },
  })
  const input = { email: 'ada@example.com', password: 'correct horse battery staple' }
  const { cookieHeader } = await session.signIn({ headers: new Headers() }, input)
  const next = await session.from({ headers: new Headers({ cookie: cookieHeader }) })
  expect(next).toMatchObject({ status: 'signed-in', user: answer.user })
})
