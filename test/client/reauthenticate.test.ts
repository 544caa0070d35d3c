import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createAuthClient, memoryStorage, type AuthClientOptions } from '../../client/index.ts'
import type { TestApp } from '../support/app.ts'
import { countKinds, expectNoReuse } from '../support/ledger-counts.ts'
import { longTest, repeats } from '../support/long.ts'
import {
  noFault,
  randomFault,
  seeded,
  startBehindProxy,
  type FaultyProxy,
} from '../support/proxy.ts'
import { makeUser, testPassword } from '../support/users.ts'

let behind: Awaited<ReturnType<typeof startBehindProxy>>
let app: TestApp
let proxy: FaultyProxy
const password = testPassword
const stop: (() => void)[] = []

beforeAll(async () => {
  behind = await startBehindProxy()
  ;({ app, proxy } = behind)
})
beforeEach(() => {
  proxy.chooseFault = () => noFault
})
afterAll(async () => {
  for (const each of stop) each()
  await behind?.[Symbol.asyncDispose]()
})

test.each((['drop-answer', 'truncate'] as const).slice(0, repeats(1, 2)))(
  'an answer of reauthenticate that is lost (%s) is repeated with its attempt, and the session goes on',
  async (kind) => {
    const auth = await signedIn()
    const { familyId } = await auth.refresh()
    let losses = 1
    proxy.chooseFault = (path) =>
      path === '/auth/reauthenticate' && (losses -= 1) >= 0 ? { kind } : noFault
    expect(await auth.reauthenticate({ password })).toMatchObject({ status: 'signed-in', familyId })
    await auth.refresh()
    expect(await countKinds(app, familyId)).toEqual({
      issued: 1,
      rotated: 2,
      reauthenticated: 1,
      replayed: 1,
    })
  },
)

longTest('when no answer comes at all, the next refresh repairs the session', async () => {
  const auth = await signedIn()
  const { familyId } = await auth.refresh()
  proxy.chooseFault = (path) =>
    path === '/auth/reauthenticate' ? { kind: 'drop-answer' } : noFault
  await expect(auth.reauthenticate({ password })).rejects.toMatchObject({
    reason: 'network_error',
  })
  expect((await auth.refresh()).familyId).toBe(familyId)
  expect((await countKinds(app, familyId)).reauthenticated).toBe(1)
})

test('processes that share a storage reauthenticate and refresh at once over a faulty connection, and none is signed out', async () => {
  const storage = memoryStorage()
  const tools = [await signedIn({ storage }), client({ storage }), client({ storage })]
  const [one] = tools
  for (const tool of tools) await tool.restore()
  const random = seeded(20_261_127)
  for (let round = 0; round < repeats(2, 50); round += 1) {
    proxy.chooseFault = () => randomFault(random)
    const outcomes = await Promise.all(
      tools.map((tool) =>
        (random() < 0.5 ? tool.reauthenticate({ password }) : tool.refresh()).then(
          () => 'done',
          ({ reason }) => reason as string,
        ),
      ),
    )
    const passing = ['done', 'network_error', 'timeout', 'unreadable_answer', 'too_many_attempts']
    for (const outcome of outcomes) expect(passing).toContain(outcome)
    for (const { session } of tools) expect(session.status).toBe('signed-in')
  }
  proxy.chooseFault = () => noFault
  const { familyId } = await one!.reauthenticate({ password })
  expect((await countKinds(app, familyId)).reauthenticated).toBeGreaterThan(0)
  await expectNoReuse(app)
}, 240_000)

function client(options: AuthClientOptions = {}) {
  const auth = createAuthClient({ baseUrl: proxy.url, transport: 'body', ...options })
  stop.push(() => auth.dispose())
  return auth
}

async function signedIn(options: AuthClientOptions = {}) {
  const { email } = await makeUser(app.owner.url)
  const auth = client(options)
  await auth.login({ email, password })
  return auth
}
