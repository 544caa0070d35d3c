import { afterEach, expect, expectTypeOf, test } from 'vitest'
import { createAuthClient, type AuthClient, type User } from '../../client/index.ts'
import { grantingFetch } from '../support/granting-fetch.ts'

type Claims = { readonly tenant: string; readonly roles: readonly string[] }

const ann = { id: '1', email: 'ann@example.com', role: 'user', tenant: 'acme', roles: ['buyer'] }
const bob = { ...ann, id: '2', email: 'bob@example.com' }
const form = { email: 'ann@example.com', password: 'correct horse battery' }

let auth: AuthClient<Claims>
afterEach(() => auth.dispose())

function open(answeredUser: () => Record<string, unknown>) {
  const { fetch, seen } = grantingFetch(answeredUser)
  auth = createAuthClient<Claims>({ baseUrl: 'https://auth.example.com', transport: 'body', fetch })
  return seen
}

function shownUser() {
  return auth.session.status === 'signed-in' ? auth.session.user : null
}

test('the user is the same object until one of its fields changes', async () => {
  let user: Record<string, unknown> = { ...ann }
  open(() => structuredClone(user))
  await auth.login(form)
  const first = shownUser()
  await auth.refresh()
  expect(shownUser()).toBe(first)
  user = { ...ann, roles: ['buyer', 'seller'] }
  await auth.refresh()
  expect(shownUser()).not.toBe(first)
  expect(shownUser()?.roles).toEqual(['buyer', 'seller'])
})

test("the user carries a team's own claims, typed", async () => {
  open(() => ann)
  const session = await auth.login(form)
  expect(session.user).toEqual(ann)
  expectTypeOf(session.user).toEqualTypeOf<User & Claims>()
  expectTypeOf(session.user.tenant).toEqualTypeOf<string>()
  expectTypeOf<AuthClient<Claims>>().toExtend<AuthClient>()
})

test('onUserChange reports another person, and not each refresh', async () => {
  let user: Record<string, unknown> = ann
  open(() => ({ ...user }))
  const seen: (string | null)[] = []
  const stop = auth.onUserChange((next) => seen.push(next?.email ?? null))
  expect(seen).toEqual([])
  await auth.login(form)
  await auth.refresh()
  user = { ...ann, role: 'admin' }
  await auth.refresh()
  expect(seen).toEqual(['ann@example.com'])
  user = bob
  await auth.login(form)
  await auth.logout()
  expect(seen).toEqual(['ann@example.com', 'bob@example.com', null])
  stop()
  await auth.login(form)
  expect(seen).toHaveLength(3)
})
