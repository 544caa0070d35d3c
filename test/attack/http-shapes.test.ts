import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { attackedServer } from '../support/attacked-server.ts'
import { signIn, signInWithCookie } from '../support/sessions.ts'
import { testPassword } from '../support/users.ts'

const attacked = attackedServer()
const json = 'application/json'
const host = () => new URL(attacked.url).host

/** A request written by hand; the connection is closed after it. */
function written(line: string, headers: readonly string[], body: string | Buffer = ''): Buffer {
  const all = headers.some((header) => /^host/i.test(header))
    ? headers
    : [`host: ${host()}`, ...headers]
  const head = [line, ...all, 'connection: close', '', ''].join('\r\n')
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(body)])
}

/** Resident memory of the process, in bytes. */
async function memoryOf(): Promise<number> {
  const { text } = await attacked.request('/metrics', { method: 'GET' })
  return Number(/^process_resident_memory_bytes (\d+)/m.exec(text)![1])
}

describe('HT-04 (ASVS 15.2.2): an oversized request is refused and not kept in memory', () => {
  const large = `{"email":"${'a'.repeat(17 * 1024)}"}`
  const chunked = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`

  test.each(['/auth/login', '/auth/refresh', '/trpc/sessions.revoke'])(
    'a body over 16 KiB to %s is answered 413',
    async (path) => {
      await attacked.unchanged(async () => {
        const sized = await attacked.request(path, {
          headers: { 'content-type': json },
          body: large,
        })
        expect([sized.status, sized.reason]).toEqual([413, 'payload_too_large'])
        const line = `POST ${path} HTTP/1.1`
        const type = `content-type: ${json}`
        const inChunks = await attacked.raw(
          written(line, [type, 'transfer-encoding: chunked'], chunked(large)),
        )
        expect(inChunks.statuses).toEqual([413])
        // The stated length is too small: the service reads no more than it says.
        const short = await attacked.raw(written(line, [type, 'content-length: 2'], large))
        expect(short.statuses[0]).toBeLessThan(500)
        const huge = await attacked.raw(written(line, [type, 'content-length: 99999999999']))
        expect(huge.statuses).toEqual([413])
      })
    },
  )

  test('a gzip bomb is not unpacked', async () => {
    const bomb = gzipSync(Buffer.alloc(50 * 1024 * 1024, ' '))
    expect(bomb.length).toBeGreaterThan(16 * 1024)
    const before = await memoryOf()
    await attacked.unchanged(async () => {
      for (const body of [bomb, bomb.subarray(0, 15 * 1024), gzipSync('{}')])
        for (const encoding of ['gzip', 'deflate', 'br', 'gzip, gzip']) {
          const headers = { 'content-type': json, 'content-encoding': encoding }
          const answer = await attacked.request('/auth/refresh', { headers, body })
          expect([400, 413, 415]).toContain(answer.status)
        }
    })
    expect((await memoryOf()) - before).toBeLessThan(50 * 1024 * 1024)
  })

  test('an upload of 100 MB does not grow the memory, whatever its content type', async () => {
    const { accessToken } = await signIn(attacked)
    const before = await memoryOf()
    const part = 'a'.repeat(100 * 1024 * 1024)
    for (const type of ['multipart/form-data; boundary=a', 'text/plain', json]) {
      const sent = attacked.request('/trpc/sessions.revokeOthers', {
        headers: { 'content-type': type, authorization: `Bearer ${accessToken}` },
        body: `--a\r\ncontent-disposition: form-data; name="a"\r\n\r\n${part}\r\n--a--`,
      })
      // The answer, or the end of the connection while the client still sends.
      const said = await sent.then(
        ({ status }) => status,
        (error: NodeJS.ErrnoException) => error.code,
      )
      expect([413, 415, 'EPIPE', 'ECONNRESET']).toContain(said)
    }
    // Less than one of the uploads, with some room for the process itself.
    expect((await memoryOf()) - before).toBeLessThan(70 * 1024 * 1024)
  })

  test.each([
    [
      'a header of 1 MB',
      431,
      () => written('GET /healthz HTTP/1.1', [`x: ${'a'.repeat(1024 * 1024)}`]),
    ],
    [
      '5,000 headers',
      431,
      () =>
        written(
          'GET /healthz HTTP/1.1',
          Array.from({ length: 5_000 }, (_, i) => `x${i}: ${i}`),
        ),
    ],
    ['a URL of 1 MB', 431, () => written(`GET /${'a'.repeat(1024 * 1024)} HTTP/1.1`, [])],
    ['a query of 15 KB', 401, () => written(`GET /trpc/me?${'a=1&'.repeat(3_750)} HTTP/1.1`, [])],
    [
      'a cookie header of 15 KB',
      401,
      () =>
        written(
          'POST /auth/refresh HTTP/1.1',
          [
            `cookie: ${'a=b; '.repeat(3_000)}`,
            `origin: ${attacked.url}`,
            'content-length: 2',
            `content-type: ${json}`,
          ],
          '{}',
        ),
    ],
    [
      '15 KB of spaces in the cookie header',
      401,
      () =>
        written(
          'POST /auth/refresh HTTP/1.1',
          [
            `cookie: a=${' '.repeat(15_000)}b`,
            `origin: ${attacked.url}`,
            'content-length: 2',
            `content-type: ${json}`,
          ],
          '{}',
        ),
    ],
    [
      'a bearer of 15 KB',
      401,
      () => written('GET /trpc/me HTTP/1.1', [`authorization: Bearer ${'a.'.repeat(7_500)}`]),
    ],
    ['a method of 10 KB', 400, () => written(`${'A'.repeat(10_000)} / HTTP/1.1`, [])],
  ])('%s is %i', async (_what, status, bytes) => {
    expect((await attacked.raw(bytes())).statuses).toEqual([status])
  })

  test('a client that reads only once it has sent everything gets its answer', async () => {
    const { socket, closed } = await connected()
    socket.pause()
    // Part by part, so that the service answers the first of them while the others are still on their way.
    for (let i = 0; i < 50; i++) {
      socket.write(i === 0 ? `GET /${'a'.repeat(20_000)}` : 'a'.repeat(20_000))
      await attacked.request('/healthz', { method: 'GET' })
    }
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    socket.resume()
    await closed
    expect(text).toMatch(/^HTTP\/1\.1 431 /)
  })

  test('a client that never closes after such an answer is cut off', async () => {
    const { socket, closed } = await connected({ allowHalfOpen: true })
    socket.write('a'.repeat(20_000))
    const sending = setInterval(() => socket.write('a'), 50)
    socket.resume()
    expect(await closed.finally(() => clearInterval(sending))).toBe('reset')
  })

  async function connected(
    options: { allowHalfOpen?: boolean } = {},
  ): Promise<{ socket: Socket; closed: Promise<'ended' | 'reset'> }> {
    const { hostname, port } = new URL(attacked.url)
    const socket = connect({ host: hostname, port: Number(port), ...options })
    await once(socket, 'connect')
    socket.on('error', () => {})
    const closed = new Promise<'ended' | 'reset'>((resolve) => {
      socket.once('close', (hadError) => resolve(hadError ? 'reset' : 'ended'))
    })
    return { socket, closed }
  }
})

describe('HT-08 (ASVS 4.1.4, 13.4.4): methods that no client needs do nothing', () => {
  const methods = [
    'TRACE',
    'TRACK',
    'CONNECT',
    'PROPFIND',
    'PURGE',
    'LINK',
    'DEBUG',
    'POSTX',
    'get',
  ]
  test.each(methods)('%s changes nothing', async (method) => {
    const { cookie } = await signInWithCookie(attacked)
    await attacked.unchanged(async () => {
      for (const path of [
        '/auth/refresh',
        '/trpc/me',
        '/healthz',
        '*',
        'http://127.0.0.1/auth/logout',
      ]) {
        const line = `${method} ${path} HTTP/1.1`
        const headers = [
          `cookie: ${cookie}`,
          `origin: ${attacked.url}`,
          'x-canary: canary',
          'content-length: 0',
        ]
        const { statuses, text } = await attacked.raw(written(line, headers))
        // Node closes the connection of a CONNECT without a listener.
        if (method === 'CONNECT') expect(statuses).toEqual([])
        else expect([400, 404, 405]).toContain(statuses[0])
        expect(text).not.toMatch(/canary|tlr1/)
      }
    })
  })
})

describe('V14 HT-09 (RFC 9112 §6.3, §11.2): the service reads one request as one, however its length is given', () => {
  const hidden = `POST /auth/logout HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n`
  const shapes: [string, string[]][] = [
    ['both a length and chunks', ['content-length: 6', 'transfer-encoding: chunked']],
    ['both, the other way round', ['transfer-encoding: chunked', 'content-length: 6']],
    ['two lengths', ['content-length: 5', `content-length: ${hidden.length + 5}`]],
    ['two lengths in a line', ['content-length: 5, 6']],
    ['a length with a sign', ['content-length: +5']],
    ['a length in hex', ['content-length: 0x5']],
    ['a negative length', ['content-length: -1']],
    ['a length with a space in it', ['content-length: 5 5']],
    ['a space before the colon', ['content-length : 5', 'transfer-encoding: chunked']],
    ['chunks by another name', ['transfer-encoding: xchunked']],
    ['chunks, quoted', ['transfer-encoding: "chunked"']],
    ['chunks, then identity', ['transfer-encoding: chunked, identity']],
    ['a folded header', ['transfer-encoding:\r\n chunked']],
    ['a vertical tab', ['transfer-encoding:\u000bchunked']],
    ['a bare line feed', ['x: a\ntransfer-encoding: chunked']],
    ['a bare carriage return', ['x: a\rtransfer-encoding: chunked']],
    ['a NUL', ['x: a\0b']],
    ['a header without a name', [': a']],
    ['a line that is no header', ['nothing']],
  ]

  test.each(shapes)('%s: the body is not read as a second request', async (_what, headers) => {
    const { cookie } = await signInWithCookie(attacked)
    const logout = hidden.replace(
      'host: a',
      `host: a\r\ncookie: ${cookie}\r\norigin: ${attacked.url}`,
    )
    await attacked.unchanged(async () => {
      const body = `0\r\n\r\n${logout}`
      const bytes = written(
        'POST /auth/refresh HTTP/1.1',
        [`content-type: ${json}`, ...headers],
        body,
      )
      const { statuses, isClosed } = await attacked.raw(bytes)
      expect([statuses.length, isClosed]).toEqual([1, true])
      expect([400, 401]).toContain(statuses[0])
    })
  })

  test.each([
    ['a chunk of no hex', 'Z\r\n{}\r\n0\r\n\r\n'],
    ['a chunk that is longer than it says', '1\r\n{}\r\n0\r\n\r\n'],
    ['a chunk size beyond numbers', 'ffffffffffffffffff\r\n{}\r\n0\r\n\r\n'],
    ['a negative chunk', '-2\r\n{}\r\n0\r\n\r\n'],
    ['a chunk extension of 100 KB', `2;${'a'.repeat(100_000)}\r\n{}\r\n0\r\n\r\n`],
    ['chunks that end with a bare line feed', '2\n{}\n0\n\n'],
  ])('%s is one request', async (_what, body) => {
    await attacked.unchanged(async () => {
      const headers = [`content-type: ${json}`, 'transfer-encoding: chunked']
      const { statuses } = await attacked.raw(written('POST /auth/refresh HTTP/1.1', headers, body))
      expect(statuses).toHaveLength(1)
      expect([400, 413]).toContain(statuses[0])
    })
  })
})

describe('V26 TR-15 (ASVS 4.1.3): no host name that a request gives is trusted', () => {
  test.each([
    ['another host', 'evil.example.com'],
    ['another host with a port', 'evil.example.com:80'],
    ['this address as a user name', '127.0.0.1@evil.example.com'],
    ['another host with a user and a password', 'user:pass@evil.example.com'],
    ['another host with a path', 'evil.example.com/trpc/me?'],
    ['another host with a fragment', 'evil.example.com#'],
    ['another host with a backslash', 'evil.example.com\\'],
    ['an IPv6 address', '[::1]'],
    ['a space and colons', 'a b:::'],
    ['an empty text', ''],
    ['a slash', '/'],
    ['two dots', '..'],
    ['an escaped NUL', '%00'],
    ['a letter beyond ASCII', 'é'],
    ['5,000 letters', 'a'.repeat(5_000)],
  ])('%s as the host name is ignored or refused', async (_what, name) => {
    const { email } = await signIn(attacked)
    const body = JSON.stringify({ email, password: testPassword })
    const forwarded = [
      `x-forwarded-host: ${name}`,
      `forwarded: host="${name}"`,
      `x-original-host: ${name}`,
    ]
    for (const [line, more, text] of [
      [
        'POST /auth/login HTTP/1.1',
        [`content-type: ${json}`, `content-length: ${body.length}`],
        body,
      ],
      ['GET /.well-known/jwks.json HTTP/1.1', [], ''],
      ['GET /trpc/me HTTP/1.1', [], ''],
      ['GET /nothing HTTP/1.1', [], ''],
    ] as const) {
      const answer = await attacked.raw(
        written(line, [`host: ${name}`, ...forwarded, ...more], text),
      )
      expect(answer.statuses).toHaveLength(1)
      expect(answer.text).not.toContain('evil')
      expect(answer.text).not.toMatch(/^location:/im)
      const [, token] = /"accessToken":"([^"]+)"/.exec(answer.text) ?? []
      if (token === undefined) continue
      const claims = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())
      expect([claims.iss, claims.aud]).toEqual([attacked.url, attacked.url])
    }
  })

  test('a missing host, two hosts and a host that differs from the URL are refused or ignored', async () => {
    for (const head of [
      'GET http://evil.example.com/trpc/me HTTP/1.1\r\nhost: a\r\n',
      'GET http://user:pass@evil.example.com/trpc/me HTTP/1.1\r\nhost: a\r\n',
      'GET http://user@evil.example.com/trpc/me HTTP/1.1\r\nhost: a\r\n',
      'GET http://a@[/trpc/me HTTP/1.1\r\nhost: a\r\n',
      'GET /healthz HTTP/1.1\r\n',
      'GET /healthz HTTP/1.1\r\nhost: a\r\nhost: b\r\n',
      'GET http://evil.example.com/healthz HTTP/1.1\r\nhost: a\r\n',
      'GET /healthz HTTP/1.0\r\n',
      'GET /healthz HTTP/0.9\r\nhost: a\r\n',
      'GET /healthz HTTP/2.0\r\nhost: a\r\n',
      'PRI * HTTP/2.0\r\n',
      'GET /healthz\r\n',
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    ]) {
      const { statuses, text } = await attacked.raw(
        Buffer.from(`${head}connection: close\r\n\r\n`, 'latin1'),
      )
      expect(statuses).toHaveLength(1)
      expect(text).not.toContain('evil')
    }
  })
})

test('PW-16 (RFC 9700 §2.4): no endpoint takes a password grant or has the path of another standard', async () => {
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  for (const path of [
    '/token',
    '/oauth/token',
    '/oauth2/token',
    '/auth/token',
    '/authorize',
    '/introspect',
    '/.well-known/openid-configuration',
    '/admin',
    '/.env',
    '/.git/config',
    '/server/main.ts',
  ])
    for (const method of ['GET', 'POST']) {
      const answer = await attacked.request(path, {
        method,
        ...(method === 'POST' && { headers: form, body: 'grant_type=password' }),
      })
      expect([404, 415]).toContain(answer.status)
    }
})

test('HT-10 (ASVS 16.4.1): a caller can neither choose the request id in the log nor write a log line', async () => {
  const headers = {
    'x-request-id': 'canary-id',
    'request-id': 'canary-id',
    'user-agent': 'a\u009b31mcanary',
    traceparent: 'canary',
  }
  await attacked.request('/auth/refresh', { headers, json: {} })
  await attacked.request('/auth/login', {
    headers,
    json: { email: 'a@example.com\n{"level":60}', password: 'x' },
  })
  expect(attacked.server.output()).not.toMatch(/canary|"level":60/)
})
