import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminEmail, attackedServer } from '../support/attacked-server.ts'
import { beginSessions, type BegunSession } from '../support/begun-sessions.ts'
import { auth, query } from '../support/http.ts'
import { median } from '../support/median.ts'
import { nodeArguments } from '../support/programs.ts'
import { expectOfSamples } from '../support/samples.ts'
import { startServer, type ServerProcess } from '../support/server.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'

const limited = { RATE_LIMITS: 'on' }
const attacked = attackedServer(limited, { mayShed: true })

/** A second process on the same database. */
let other: ServerProcess
let flooder: { accessToken: string }
let families: BegunSession[]
let honest: { email: string; accessToken: string }

beforeAll(async () => {
  other = await startServer(attacked.owner.url, { ...limited, PUBLIC_URL: attacked.url })
  const user = await makeUser(attacked.owner.url)
  await beginSessions(attacked.owner.url, user, 99)
  flooder = await signIn(attacked, user.email)
  families = await beginSessions(attacked.owner.url, await makeUser(attacked.owner.url), 20)
  honest = await signIn(attacked)
}, 60_000)
afterAll(() => other[Symbol.asyncDispose]())

type Times = { refresh: number[]; signIn: number[]; me: number[]; bad: string[] }

/** Five refreshes and two calls of `me` a second, and a sign-in, as people make them. */
async function live(seconds: number): Promise<Times> {
  const times: Times = { refresh: [], signIn: [], me: [], bad: [] }
  const timed = async (kind: 'refresh' | 'signIn' | 'me', ask: () => ReturnType<typeof auth>) => {
    const startedAt = performance.now()
    const answer = await ask().catch(() => null)
    times[kind].push(performance.now() - startedAt)
    if (answer?.status !== 200) times.bad.push(`${kind}: ${answer?.reason ?? 'no answer'}`)
    return answer
  }
  const within = () => AbortSignal.timeout(30_000)
  const refreshOne = async (i: number) => {
    const family = families[i % families.length]!
    const { url } = i % 2 ? attacked : other
    const { refreshToken } = family
    const answer = await timed('refresh', () =>
      auth(url, 'refresh', { refreshToken }, {}, within()),
    )
    if (answer?.status === 200)
      families[i % families.length] = { ...family, refreshToken: answer.data.refreshToken }
  }
  const credentials = { email: honest.email, password: testPassword, transport: 'body' }
  const going: Promise<unknown>[] = []
  for (let i = 0; i < seconds * 5; i++) {
    going.push(refreshOne(i))
    if (i % 5 === 0)
      going.push(timed('signIn', () => auth(attacked.url, 'login', credentials, {}, within())))
    if (i % 5 < 2) going.push(timed('me', () => query(attacked.url, 'me', honest.accessToken)))
    await sleep(200)
  }
  await Promise.all(going)
  return times
}

/** While an attacker in a process of its own sends this to the first server, `perSecond` times. */
async function under<T>(
  { path, token, perSecond }: { path: string; token: string; perSecond: number },
  work: () => Promise<T>,
): Promise<{ result: T; statuses: Record<string, number> }> {
  const program = nodeArguments('test/support/flood-process.ts')
  const child = spawn(
    process.execPath,
    [...program, attacked.url + path, token, String(perSecond)],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const ended = new Promise((resolve) => child.once('exit', resolve))
  // The flood has begun, and has used up what is not counted.
  await sleep(1_500)
  const result = await work()
  child.stdin.end()
  await ended
  return { result, statuses: JSON.parse(output) as Record<string, number> }
}

function batchOf(procedure: string, inputs: readonly unknown[]): string {
  const input = encodeURIComponent(JSON.stringify(Object.fromEntries(inputs.entries())))
  return `/trpc/${inputs.map(() => procedure).join()}?batch=1&input=${input}`
}

const sevenLists = batchOf(
  'sessions.list',
  Array.from({ length: 7 }, () => ({ limit: 200 })),
)
const day = { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z', bucket: 'minute' }
const eightStatistics = batchOf(
  'admin.stats',
  Array.from({ length: 8 }, () => day),
)

describe('TR-03: one signed-in caller who asks for the most that one request can carry, fifty times a second', () => {
  test.each([
    { what: 'seven lists of a hundred sessions', path: sevenLists, isAdmin: false },
    { what: 'eight statistics', path: eightStatistics, isAdmin: true },
  ])('others are answered as before: $what', async ({ path, isAdmin }) => {
    const { accessToken: token } = isAdmin ? await signIn(attacked, adminEmail) : flooder
    const measure = async (seconds: number) => {
      const calm = await live(seconds)
      const { result, statuses } = await under({ path, token, perSecond: 50 }, () => live(seconds))
      return { calm, result, statuses }
    }
    await expectOfSamples(4, measure, ({ calm, result, statuses }) => {
      expect([calm.bad, result.bad]).toEqual([[], []])
      // Before calls were counted, a refresh took eight seconds. All processes share the cores of the machine.
      for (const kind of ['refresh', 'signIn', 'me'] as const)
        expect([kind, median(result[kind]) < 10 * median(calm[kind]) + 1_000]).toEqual([kind, true])
      expect(statuses['429']).toBeGreaterThan(statuses['200'] ?? 0)
    })
    const headers = { authorization: `Bearer ${token}` }
    await expect
      .poll(async () => (await attacked.request('/trpc/me', { method: 'GET', headers })).status, {
        timeout: 30_000,
      })
      .toBe(200)
  })
})
