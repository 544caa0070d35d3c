import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { median } from '../support/median.ts'
import { attackedServer, type AttackAnswer } from '../support/attacked-server.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'

const attacked = attackedServer({}, { mayShed: true })
const wrong = 'not the password at all'
const mebibyte = 1024 * 1024

/** What the process reports in its metrics. */
async function load(): Promise<{ active: number; waiting: number; memory: number }> {
  const { text } = await attacked.request('/metrics', { method: 'GET' })
  const number = (name: string) =>
    Number(
      text
        .split('\n')
        .find((l) => l.startsWith(name))
        ?.slice(name.length),
    )
  return {
    active: number('token_ledger_password_hashes{state="active"}'),
    waiting: number('token_ledger_password_hashes{state="waiting"}'),
    memory: number('process_resident_memory_bytes'),
  }
}

type Timed = AttackAnswer & { readonly ms: number }
async function timedLogin(email: string): Promise<Timed> {
  const began = performance.now()
  const answer = await attacked.request('/auth/login', { json: { email, password: wrong } })
  return { ...answer, ms: performance.now() - began }
}

test('V23 PW-03 (ASVS 15.2.2): in a flood of sign-ins the queue checks as many as it may, the rest get 503 or 429 at once, and all other calls go on', async () => {
  const { email } = await makeUser(attacked.owner.url)
  let session = await signIn(attacked)
  const before = await load()

  const flood = Promise.all(
    Array.from({ length: 400 }, (_, i) => timedLogin(i % 2 ? email : `stranger-${i}@example.com`)),
  )
  const isOver = flood.then(() => true)
  const most = { active: 0, waiting: 0, memory: 0 }
  let others = 0
  while (!(await Promise.race([isOver, sleep(20, false)]))) {
    const { refreshToken } = session
    const answer = await attacked.request('/auth/refresh', { json: { refreshToken } })
    expect(answer.status).toBe(200)
    session = { ...session, ...answer.body.result.data }
    const now = await load()
    most.active = Math.max(most.active, now.active)
    most.waiting = Math.max(most.waiting, now.waiting)
    most.memory = Math.max(most.memory, now.memory)
    others += 1
  }
  // Each of these calls was answered while passwords were still being checked.
  expect(others).toBeGreaterThan(3)
  expect([most.active <= 2, most.waiting <= 64]).toEqual([true, true])
  expect(most.memory - before.memory).toBeLessThan(2 * 19 * mebibyte + 100 * mebibyte)

  const answers = await flood
  const checked = answers.filter(({ status }) => status === 401)
  const shed = answers.filter(({ status }) => status === 503 || status === 429)
  expect(checked.length + shed.length).toBe(400)
  // The first, and the eight that may wait after its wrong password. Those that came before its answer wait as well.
  expect(checked.length).toBeGreaterThanOrEqual(9)
  expect(shed.length).toBeGreaterThan(100)
  for (const { reason, headers } of shed)
    expect([reason, headers['retry-after']]).toEqual([
      expect.stringMatching(/^(service_unavailable|too_many_attempts)$/),
      '1',
    ])
  // A refusal does not wait in the queue: most are sent while the queue is still full.
  const times = { shed: shed.map(({ ms }) => ms), checked: checked.map(({ ms }) => ms) }
  expect(median(times.shed), `times: ${JSON.stringify(times)}`).toBeLessThan(
    Math.max(...times.checked),
  )
  expect((await load()).waiting).toBe(0)
})

test('V23 PW-03 (ASVS 15.2.2): callers who hang up neither free a running check nor hold a place for ever', async () => {
  const { email } = await makeUser(attacked.owner.url)
  const body = JSON.stringify({ email, password: wrong })
  const headers = { 'content-type': 'application/json', 'content-length': body.length }
  for (let i = 0; i < 200; i++) {
    const sent = request(`${attacked.url}/auth/login`, { method: 'POST', headers })
    sent.on('error', () => {})
    sent.end(body)
    setTimeout(() => sent.destroy(), 100)
  }
  await expect.poll(async () => (await load()).waiting).toBeGreaterThan(0)
  let mostActive = 0
  await expect
    .poll(async () => {
      const { active, waiting } = await load()
      mostActive = Math.max(mostActive, active)
      return active + waiting
    })
    .toBe(0)
  expect(mostActive).toBeLessThanOrEqual(2)
  const json = { email, password: testPassword }
  expect((await attacked.request('/auth/login', { json })).status).toBe(200)
})

test('V23 PW-04 (ASVS 6.2.8, 6.2.9): an oversized password is refused before it is hashed', async () => {
  const { email } = await makeUser(attacked.owner.url)
  const login = (bytes: number) =>
    attacked.request('/auth/login', { json: { email, password: 'x'.repeat(bytes) } })
  // More than the queue could hold, so none of them entered it.
  const answers = await Promise.all(Array.from({ length: 300 }, () => login(4_096)))
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 401))
  expect((await login(4_097)).status).toBe(400)
  expect((await login(mebibyte)).status).toBe(413)
  const long = { email: 'long@example.com', password: 'ab'.repeat(512) + 'c' }
  expect((await attacked.request('/auth/register', { json: long })).reason).toBe(
    'validation_failed',
  )
})
