import { readFileSync } from 'node:fs'
import { derived, get, type Readable } from 'svelte/store'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { effectScope, watchEffect } from 'vue'
import { createAuthClient, type Session } from '../../../client/index.ts'
import { blocksOf, readPage } from '../../docs/pages.ts'
import { startApp, type TestApp } from '../../support/app.ts'
import { makeUser, testPassword } from '../../support/users.ts'
import { useSession, useUser } from './vue-session.ts'

let app: TestApp
let email: string

beforeAll(async () => {
  app = await startApp()
  ;({ email } = await makeUser(app.owner.url))
})
afterAll(() => app[Symbol.asyncDispose]())

test('the client is a Svelte store: `get`, `derived` and `$auth` read its session', async () => {
  const auth = createAuthClient({ baseUrl: app.url, transport: 'body' })
  const store: Readable<Session> = auth
  const user = derived(store, (now) => (now.status === 'signed-in' ? now.user.email : null))
  const seen: (string | null)[] = []
  const unsubscribe = user.subscribe((now) => seen.push(now))
  expect(get(store).status).toBe('unknown')
  await auth.login({ email, password: testPassword })
  await auth.refresh()
  expect(get(store)).toBe(auth.session)
  await auth.logout()
  unsubscribe()
  await auth.login({ email, password: testPassword })
  expect(seen).toEqual([null, email, null])
  auth.dispose()
})

test('a Vue composable follows the session as long as its component is there', async () => {
  const auth = createAuthClient({ baseUrl: app.url, transport: 'body' })
  const component = effectScope()
  const seen: (string | undefined)[] = []
  const session = component.run(() => {
    const user = useUser(auth)
    watchEffect(() => seen.push(user.value?.email), { flush: 'sync' })
    return useSession(auth)
  })
  await auth.login({ email, password: testPassword })
  expect(session?.value).toBe(auth.session)
  await auth.logout()
  component.stop()
  await auth.login({ email, password: testPassword })
  expect(session?.value.status).toBe('signed-out')
  expect(seen).toEqual([undefined, email, undefined])
  auth.dispose()
})

test('the composable of the guide is the one that is tested here', () => {
  const guide = blocksOf(readPage('docs/guides/svelte-vue.md')).at(-1)?.text ?? ''
  const tested = readFileSync(new URL('vue-session.ts', import.meta.url), 'utf8')
  const withoutImports = (text: string) => text.slice(text.indexOf('export ')).trim()
  expect(withoutImports(guide)).toBe(withoutImports(tested))
})
