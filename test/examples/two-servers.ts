import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { makeUser, testPassword } from '../support/users.ts'
import type { Example } from './story.ts'

/** An app that renders pages, in two processes with one secret. */
export type TwoServers = Example & { readonly urls: readonly [string, string] }

/** What holds for apps that render pages on several servers. */
export function neverReuse(example: () => TwoServers): void {
  test('ten requests at once after expiry, to two processes: ten pages, one rotation', async () => {
    const { urls, service } = example()
    const { email, cookie } = await signInExpired(example())
    const pages = await Promise.all(
      Array.from({ length: 10 }, (_, i) => get(urls[i % 2 === 0 ? 0 : 1], cookie)),
    )
    expect(pages.map(({ text }) => text.includes(email))).toEqual(pages.map(() => true))
    for (const { response } of pages) {
      expect(response.headers.get('cache-control')).toBe('private, no-store')
      expect(response.headers.getSetCookie()).toEqual([
        expect.stringMatching(/^__Host-session=v1\./),
      ])
    }
    expect(await service.rotationsOf(email)).toBe(1)
    expect(await service.countOf('reuse_detected')).toBe(0)
  })

  test('a lost answer, and a retry eleven seconds later at the other process: signed in, one rotation', async () => {
    const { urls, service } = example()
    const { email, cookie } = await signInExpired(example())
    await service.whileLost('drop-answer', async () => {
      expect((await get(urls[0], cookie)).text).not.toContain(email)
    })
    await setTimeout(11_000)
    expect((await get(urls[1], cookie)).text).toContain(email)
    expect(await service.rotationsOf(email)).toBe(1)
    expect(await service.countOf('reuse_detected')).toBe(0)
  })
}

/** Signs in as a page of the app does. @returns the cookie, once its access token has expired */
async function signInExpired({ urls, service }: TwoServers) {
  const { email } = await makeUser(service.database.url)
  const response = await fetch(`${urls[0]}/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin' },
    body: JSON.stringify({ email, password: testPassword }),
  })
  const answer = (await response.json()) as { result: { data: { expiresIn: number } } }
  expect(answer).toHaveProperty('result.data.expiresIn')
  const { result } = answer
  // `expiresIn` is in whole seconds, rounded down.
  await setTimeout((result.data.expiresIn + 1) * 1000)
  const [cookie = ''] = response.headers.getSetCookie()[0]!.split(';')
  return { email, cookie }
}

async function get(url: string, cookie: string) {
  const response = await fetch(url, { headers: { cookie } })
  return { response, text: await response.text() }
}
