import { expect, test } from 'vitest'
import { adminEmail, attackedServer, type AttackAnswer } from '../support/attacked-server.ts'
import { callProcedure, procedures } from '../support/procedures.ts'
import { signIn } from '../support/sessions.ts'

const attacked = attackedServer()

/** The headers that every answer carries, whatever its status and its sender. */
const hardening = {
  'strict-transport-security': 'max-age=31536000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'content-security-policy': expect.stringMatching(/default-src 'none'.*frame-ancestors 'none'/),
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
}

function expectHardened(what: string, { headers }: AttackAnswer): void {
  expect([what, headers]).toEqual([what, expect.objectContaining(hardening)])
  expect([what, headers['x-powered-by'], headers.server]).toEqual([what, undefined, undefined])
}

test('HT-05 HT-06 HT-07 TR-10 CS-08 (ASVS 3.4.1–3.4.8, 14.3.2): every answer of every procedure forbids caching, varies by Origin and is JSON that browsers do not sniff', async () => {
  const { accessToken } = await signIn(attacked, adminEmail)
  const statuses = new Set<number>()
  for (const procedure of procedures)
    for (const authorization of ['', `Bearer ${accessToken}`])
      for (const input of [procedure.sample, { canary: '<script>' }]) {
        const headers = { authorization, origin: 'https://evil.example.com' }
        const answer = await callProcedure(attacked, procedure, { input, headers })
        const what = `${procedure.url} ${answer.status}`
        expectHardened(what, answer)
        expect([what, answer.headers['cache-control']]).toEqual([
          what,
          expect.stringMatching(/no-store/),
        ])
        expect([what, answer.headers.vary]).toEqual([what, expect.stringMatching(/\bOrigin\b/)])
        const type = procedure.type === 'subscription' ? 'text/event-stream' : 'application/json'
        expect([what, answer.headers['content-type']]).toEqual([
          what,
          expect.stringContaining(type),
        ])
        expect(answer.text).not.toMatch(/script|canary/)
        statuses.add(answer.status)
      }
  expect([...statuses]).toEqual(expect.arrayContaining([200, 400, 401, 403, 404]))
})

test('TR-05 HT-05 HT-06 HT-07 (ASVS 3.4.1–3.4.8, 16.5.1): so does an answer for an unknown path, and one that is refused before a procedure is found', async () => {
  const json = { 'content-type': 'application/json' }
  const asked: [string, string, number, object?][] = [
    ['GET', '/healthz', 200],
    ['GET', '/readyz', 200],
    ['GET', '/metrics', 200],
    ['GET', '/.well-known/jwks.json', 200],
    ['GET', '/canary', 404],
    ['GET', '/auth/login', 404],
    ['PUT', '/trpc/me', 404],
    ['GET', '/trpc/nothing', 404],
    ['GET', '/trpc/sessions.revoke', 405],
    ['OPTIONS', '/auth/login', 404],
    ['POST', '/auth/login', 415, { headers: { 'content-type': 'canary/canary' }, body: 'x' }],
    [
      'POST',
      '/trpc/sessions.revoke',
      415,
      { headers: { 'content-type': 'canary/canary' }, body: 'x' },
    ],
    ['POST', '/auth/login', 413, { headers: json, body: 'x'.repeat(17 * 1024) }],
    ['POST', '/auth/login', 400, { headers: json, body: '{"canary' }],
    ['POST', '/trpc/sessions.revoke', 401, { headers: json, body: '{"canary' }],
    ['GET', `/trpc/${'me,'.repeat(10)}me?batch=1`, 400],
  ]
  for (const [method, path, status, more] of asked) {
    const answer = await attacked.request(path, { method, ...more })
    const what = `${method} ${path}`
    expect([what, answer.status]).toEqual([what, status])
    expectHardened(what, answer)
    const isPublic = path.endsWith('jwks.json')
    expect([what, answer.headers['cache-control']]).toEqual([
      what,
      isPublic ? 'public, max-age=300' : 'no-store',
    ])
    if (status >= 400) expect(answer.headers['content-type']).toMatch(/^application\/json/)
    expect(answer.text).not.toContain('canary')
  }
})
