import type { TestApp } from './app.ts'
import { auth, type Answer } from './http.ts'
import { makeUser, testPassword } from './users.ts'

/** A session of a program, whose refresh token travels in the body. */
export type BodySession = {
  readonly email: string
  readonly userId: string
  readonly familyId: string
  readonly accessToken: string
  readonly refreshToken: string
}

type At = { readonly url: string; readonly owner: { readonly url: string } }

/** Signs in with `transport: "body"`, as a new user unless an address is given. */
export async function signIn(app: At, email?: string): Promise<BodySession> {
  const address = email ?? (await makeUser(app.owner.url)).email
  const { data } = await auth(app.url, 'login', {
    email: address,
    password: testPassword,
    transport: 'body',
  })
  const { familyId, accessToken, refreshToken, user } = data
  return { email: address, userId: user.id, familyId, accessToken, refreshToken }
}

/** Signs in as a page of the service's own origin does; `cookie` is the cookie that its browser keeps. */
export async function signInWithCookie(
  app: At,
  email?: string,
): Promise<{ answer: Answer; email: string; familyId: string; cookie: string }> {
  const address = email ?? (await makeUser(app.owner.url)).email
  const answer = await auth(
    app.url,
    'login',
    { email: address, password: testPassword },
    { origin: app.url },
  )
  const [cookie = ''] = answer.headers.getSetCookie().at(-1)?.split(';') ?? []
  return { answer, email: address, familyId: answer.data.familyId, cookie }
}

/** `POST /auth/<procedure>` as a page of the service's own origin does. */
export function fromPage(
  app: At,
  procedure: string,
  cookie: string,
  input: unknown = {},
): Promise<Answer> {
  return auth(app.url, procedure, input, { origin: app.url, cookie })
}

/** The kinds of a family's events, oldest first. */
export async function kindsOf(app: Pick<TestApp, 'owner'>, familyId: string): Promise<string[]> {
  const rows = await app.owner.ownerSql<{ kind: string }[]>`
    select kind from token_ledger.token_event where family_id = ${familyId} order by seq`
  return rows.map(({ kind }) => kind)
}
