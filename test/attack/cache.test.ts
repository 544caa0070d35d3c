import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { auth, refreshCookieIn } from '../support/http.ts'
import { hasNginx, startCache } from '../support/nginx.ts'
import { raw } from '../support/raw-http.ts'
import { freePort, startServer, type ServerProcess } from '../support/server.ts'
import { fromPage, signInWithCookie } from '../support/sessions.ts'

describe.runIf(hasNginx)(
  'V17 HT-06 (ASVS 14.3.2, RFC 6749 §5.1): a careless shared cache in front of the service gives no client the answer of another',
  () => {
    let owner: FreshDatabase
    let server: ServerProcess
    let cache: AsyncDisposable
    /** The service as clients see it, through the cache. */
    let behind: { url: string; owner: FreshDatabase }
    beforeAll(async () => {
      owner = await freshDatabase()
      const port = await freePort()
      const url = `http://127.0.0.1:${port}`
      server = await startServer(owner.url, { PUBLIC_URL: url })
      cache = await startCache(port, server.url)
      behind = { url, owner }
    })
    afterAll(async () => {
      await cache[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
      await owner[Symbol.asyncDispose]()
    })

    test('control: the cache stores what may be stored and gives it to other clients', async () => {
      const path = '/.well-known/jwks.json'
      const ask = () => raw(behind.url + path, { method: 'GET' })
      const [first, second] = [await ask(), await ask()]
      expect(second.headers['x-cache']).toBe('HIT')
      expect(second.text).toBe(first.text)
    })

    test('two users that sign in, refresh and sign out get their own cookies and bodies', async () => {
      const ada = await signInWithCookie(behind)
      const bob = await signInWithCookie(behind)
      expect(bob.answer.data.user.email).toBe(bob.email)
      expect(bob.cookie).not.toBe(ada.cookie)

      const adaNow = await fromPage(behind, 'refresh', ada.cookie)
      const bobNow = await fromPage(behind, 'refresh', bob.cookie)
      expect([adaNow.data.familyId, bobNow.data.familyId]).toEqual([ada.familyId, bob.familyId])
      expect(refreshCookieIn(bobNow)).not.toBe(refreshCookieIn(adaNow))
      // A client without a cookie gets neither a cookie nor a token.
      const stranger = await auth(behind.url, 'refresh')
      expect([stranger.status, stranger.reason]).toEqual([401, 'refresh_token_missing'])
      expect(stranger.headers.getSetCookie()).toEqual([])

      const adasCookie = `refresh_token=${refreshCookieIn(adaNow)}`
      const over = await fromPage(behind, 'logout', adasCookie)
      const again = await fromPage(behind, 'logout', `refresh_token=${refreshCookieIn(bobNow)}`)
      expect([over.data.revoked, again.data.revoked]).toEqual([1, 1])
    })

    test.each([
      ['a query', 'me', '', {}],
      ['a list', 'sessions.list', '', {}],
      ['a batch', 'me,sessions.list', '?batch=1', {}],
      [
        'a batch as a stream',
        'me,sessions.list',
        '?batch=1',
        { 'trpc-accept': 'application/jsonl' },
      ],
    ])(
      '%s: each user sees their own data, and a stranger sees none',
      async (_what, path, search, more) => {
        const [ada, bob] = [await signInWithCookie(behind), await signInWithCookie(behind)]
        const ask = (accessToken?: string) =>
          raw(`${behind.url}/trpc/${path}${search}`, {
            method: 'GET',
            headers: { ...more, ...(accessToken && { authorization: `Bearer ${accessToken}` }) },
          })
        // In this order: the cache must not store a refusal either.
        const refused = await ask()
        const adas = await ask(ada.answer.data.accessToken)
        const bobs = await ask(bob.answer.data.accessToken)
        const stranger = await ask()
        expect(adas.text).toContain(ada.familyId)
        expect(bobs.text).toContain(bob.familyId)
        expect(bobs.text).not.toContain(ada.familyId)
        expect(stranger.text).toBe(refused.text)
        expect(stranger.text).toContain('access_token_missing')
      },
    )

    test.each([
      ['GET', '/trpc/me', 401],
      ['GET', '/trpc/nothing', 404],
      ['GET', '/trpc/sessions.revoke', 405],
      ['GET', '/nothing', 404],
      ['GET', '/healthz', 200],
      ['GET', '/readyz', 200],
      ['GET', '/metrics', 404],
      ['GET', `/trpc/${'me,'.repeat(10)}me?batch=1`, 400],
      ['POST', '/auth/login', 400],
      ['POST', '/auth/nothing', 404],
    ])('the cache does not store %s %s (%i)', async (method, path, status) => {
      for (let i = 0; i < 2; i++) {
        const answer = await raw(behind.url + path, { method })
        expect([answer.status, answer.headers['x-cache']]).toEqual([status, 'MISS'])
      }
    })
  },
)
