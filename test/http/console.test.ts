import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../server/index.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { testSecret } from '../support/server.ts'

const folder = mkdtempSync(join(tmpdir(), 'token-ledger-console-'))
const page = '<!doctype html><title>console</title>'
let app: TestApp

beforeAll(async () => {
  mkdirSync(join(folder, 'assets'))
  writeFileSync(join(folder, 'index.html'), page)
  writeFileSync(join(folder, 'icon.svg'), '<svg/>')
  writeFileSync(join(folder, 'assets/index-abc.js'), '1')
  app = await startApp({}, { consoleFolder: folder })
})
afterAll(async () => {
  await app[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

test('the page is never stored, and the files whose names are hashes are stored for good', async () => {
  const shown = await get('/console/')
  expect([shown.statusCode, shown.body]).toEqual([200, page])
  expect(shown.headers['cache-control']).toBe('no-store')
  const icon = await get('/console/icon.svg')
  expect(icon.headers['cache-control']).toBe('no-cache')
  const script = await get('/console/assets/index-abc.js')
  expect(script.headers).toMatchObject({
    'cache-control': 'public, max-age=31536000, immutable',
    'content-type': 'text/javascript; charset=utf-8',
  })
})

test('a browser that takes gzip gets each file compressed', async () => {
  const answer = await app.app.inject({
    url: '/console/assets/index-abc.js',
    headers: { 'accept-encoding': 'gzip, deflate, br' },
  })
  expect(answer.headers).toMatchObject({
    'content-encoding': 'gzip',
    vary: 'Origin, accept-encoding',
  })
  expect(gunzipSync(answer.rawPayload).toString()).toBe('1')
})

test('the policy of every file allows own files alone: nothing inline, no eval, no frame, no other host', async () => {
  for (const path of ['/console/', '/console/sessions', '/console/assets/index-abc.js']) {
    const policy = String((await get(path)).headers['content-security-policy'])
    const rules = policy.split('; ')
    expect(rules).toEqual(
      expect.arrayContaining([
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
      ]),
    )
    expect(policy).not.toMatch(/unsafe|data:|https?:|\*/)
  }
})

test('the address of a screen gets the page, and a file that does not exist gets 404', async () => {
  for (const path of ['/console/sessions/0190a1b2-0000-7000-8000-000000000000', '/console/account'])
    expect((await get(path)).body).toBe(page)
  for (const path of [
    '/console/assets/other.js',
    '/console/../package.json',
    '/console/%2e%2e/package.json',
  ])
    expect((await get(path)).statusCode).toBe(404)
  expect((await get('/console')).headers.location).toBe('/console/')
})

test('the root leads to the console outside of production', async () => {
  const answer = await get('/')
  expect([answer.statusCode, answer.headers.location]).toEqual([302, '/console/'])
})

test('CONSOLE=off takes the console away, and a service that was not built has none', async () => {
  for (const [env, options] of [
    [{ CONSOLE: 'off' }, { consoleFolder: folder }],
    [{}, { consoleFolder: join(folder, 'missing') }],
  ] as const) {
    await using other = await startApp(env, options)
    for (const path of ['/console/', '/console', '/'])
      expect((await other.app.inject(path)).statusCode).toBe(404)
  }
})

test('production serves the console, and leaves the root alone', async () => {
  const config = { ...loadConfig({ AUTH_SECRET: testSecret }), isProduction: true }
  await using other = await startApp({}, { config, consoleFolder: folder })
  expect((await other.app.inject('/console/')).statusCode).toBe(200)
  expect((await other.app.inject('/')).statusCode).toBe(404)
})

function get(path: string) {
  return app.app.inject({ url: path })
}
