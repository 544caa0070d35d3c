import { expect, test } from 'vitest'
import { serverSession, type ServerSessionOptions } from '../../../client/server/index.ts'

const baseUrl = 'https://auth.example.com'
const [secret, newSecret] = ['o'.repeat(32), 'n'.repeat(32)]
const grant = {
  accessToken: 'an.access.token',
  tokenType: 'Bearer',
  expiresIn: 900,
  familyId: '0190b5d2-0000-7000-8000-000000000001',
  refreshExpiresAt: new Date(Date.now() + 3_600_000).toISOString(),
  user: { id: '1', email: 'ada@example.com', role: 'user' },
  refreshToken: 'tlr1.a.refresh.token',
}

function make(cookie: Partial<ServerSessionOptions['cookie']> = {}, answer: object = grant) {
  const sent: Record<string, unknown>[] = []
  const session = serverSession({
    baseUrl,
    cookie: { secret, ...cookie },
    async fetch(_url: unknown, init?: RequestInit) {
      sent.push(JSON.parse(init?.body as string) as Record<string, unknown>)
      return Response.json({ result: { data: answer } })
    },
  })
  return { session, sent }
}

const withCookie = (cookie: string) => ({ headers: new Headers({ cookie }) })
const input = { email: 'ada@example.com', password: 'correct horse battery staple' }

async function signedIn(made = make()): Promise<string> {
  const { setCookies } = await made.session.signIn(withCookie(''), input)
  return setCookies[0]!.split(';')[0]!
}

test('a cookie that was changed, or made with another secret, name or service, is no session', async () => {
  const cookie = await signedIn()
  const [name, value] = cookie.split('=') as [string, string]
  expect(await make().session.from(withCookie(cookie))).toMatchObject({ user: grant.user })
  const letter = value.at(40) === 'A' ? 'B' : 'A'
  const others = [
    `${name}=${value.slice(0, 40)}${letter}${value.slice(41)}`,
    `${name}=${value.slice(0, -8)}`,
    `${name}=${value.slice(3)}`,
    `${name}=v1.`,
    `${name}=`,
    `${name}=${'v1.'.padEnd(5000, 'A')}`,
    `other=${value}`,
    await signedIn(make({ secret: newSecret })),
    (await signedIn(make({ name: '__Host-other' }))).replace('__Host-other', name),
  ]
  const { session, sent } = make()
  for (const other of others) {
    const current = await session.from(withCookie(other))
    // It is left in the browser, because another process may open it.
    const nothing = { reason: 'refresh_token_missing', accessToken: null, setCookies: [] }
    expect(current).toMatchObject(nothing)
  }
  expect(sent).toEqual([])
  const elsewhere = { baseUrl: 'https://other.example.com', cookie: { secret } }
  expect(await serverSession(elsewhere).from(withCookie(cookie))).toMatchObject({ user: null })
})

test('the cookie shows nothing of the session, and never twice the same', async () => {
  const cookies = [await signedIn(), await signedIn()]
  expect(cookies[0]).not.toBe(cookies[1])
  const bytes = Buffer.from(cookies[0]!.split('v1.')[1]!, 'base64url').toString('latin1')
  expect(bytes).not.toMatch(/ada|tlr1|access/)
})

test('of several secrets the first encrypts and each decrypts, and the attempt stays the same meanwhile', async () => {
  const due = { ...grant, expiresIn: 0.001 }
  const cookie = await signedIn(make({}, due))
  const [before, during] = [make(), make({ secret: [newSecret, secret] })]
  for (const { session } of [before, during])
    expect(await session.from(withCookie(cookie))).toMatchObject({ status: 'signed-in' })
  const attempts = [before, during].map(({ sent }) => sent[0]?.attemptId)
  expect(attempts[0]).toMatch(/^[\da-f]{8}-[\da-f]{4}-8[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/)
  expect(attempts[1]).toBe(attempts[0])

  const renewed = await signedIn(during)
  expect(await before.session.from(withCookie(renewed))).toMatchObject({ user: null })
  const after = make({ secret: newSecret })
  expect(await after.session.from(withCookie(renewed))).toMatchObject({ user: grant.user })
})

test('a token is renewed when a quarter of its life is left; while the service cannot be reached the old one serves', async () => {
  const cookie = await signedIn(make({}, { ...grant, expiresIn: 900 }))
  const at = Date.now()
  const { now } = Date
  try {
    const { session, sent } = make()
    Date.now = () => at + 670_000
    expect((await session.from(withCookie(cookie))).setCookies).toEqual([])
    expect(sent).toEqual([])
    Date.now = () => at + 680_000
    const [first, second] = [
      await session.from(withCookie(cookie)),
      await session.from(withCookie(cookie)),
    ]
    expect(first.setCookies).toHaveLength(1)
    expect(second.setCookies).toHaveLength(1)
    // The second request with this cookie gets what the first has renewed.
    expect(sent).toHaveLength(1)
    const brief = make({}, { ...grant, expiresIn: 2 })
    for (const laterMs of [0, 1_000, 1_600]) {
      Date.now = () => at + 680_000 + laterMs
      await brief.session.from(withCookie(cookie))
    }
    // But not a token whose life is nearly over as well.
    expect(brief.sent).toHaveLength(2)
    Date.now = () => at + 680_000
    const away = make({}, { no: 'grant' })
    expect(await away.session.from(withCookie(cookie))).toMatchObject({
      status: 'signed-in',
      setCookies: [],
    })
    Date.now = () => at + 901_000
    expect(await away.session.from(withCookie(cookie))).toMatchObject({
      status: 'unknown',
      problem: 'unreadable_answer',
    })
  } finally {
    Date.now = now
  }
})

test('what renders the request gets the new cookie beside the others', async () => {
  const due = await signedIn(make({}, { ...grant, expiresIn: 0.001 }))
  const { session } = make()
  const { setCookies, cookieHeader } = await session.from(withCookie(`theme=dark; ${due}; a=b`))
  expect(cookieHeader).toBe(`theme=dark; a=b; ${setCookies[0]!.split(';')[0]}`)
  expect(await session.from(withCookie(cookieHeader), { readOnly: true })).toMatchObject({
    user: grant.user,
  })
  const response = session.apply(new Response('page'), { setCookies })
  expect(response.headers.get('cache-control')).toBe('private, no-store')
  expect(response.headers.getSetCookie()).toEqual(setCookies)
})

test('a session that browsers would drop, and options that cannot work, are errors', async () => {
  const user = { ...grant.user, email: `${'a'.repeat(4000)}@example.com` }
  await expect(signedIn(make({}, { ...grant, user }))).rejects.toThrow('4096 bytes')
  expect(() => make({ secret: 'short' })).toThrow('cookie.secret: at least 32 random characters')
  expect(() => make({ secret: [] })).toThrow('cookie.secret')
  expect(() => make({ name: 'a b' })).toThrow('cookie.name')
  expect(() => make({ name: '__Host-session', secure: false })).toThrow('choose another name')
  const withPath = { baseUrl: `${baseUrl}/auth`, cookie: { secret } }
  expect(() => serverSession(withPath)).toThrow(`baseUrl: without a path, as ${baseUrl}`)
  const insecure = await make({ secure: false }).session.signIn(withCookie(''), input)
  expect(insecure.setCookies[0]).toMatch(
    /^session=v1\.\S+; Path=\/; HttpOnly; SameSite=Lax; Max-Age=/,
  )
})
