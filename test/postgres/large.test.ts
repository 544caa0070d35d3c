import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect } from 'vitest'
import { beginSessions } from '../support/begun-sessions.ts'
import { command, serve, startCluster, type Cluster } from '../support/cluster.ts'
import { fillLedger } from '../support/filled-ledger.ts'
import { longTest } from '../support/long.ts'
import { auth, mutate, query } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster()
}, 60_000)

afterAll(() => cluster?.[Symbol.asyncDispose]())

longTest(
  'a user with 5,000 sessions, and a limit lowered to 100',
  { timeout: 180_000 },
  async () => {
    await cluster.exec('create database many')
    const url = cluster.url('many')
    await command(url, ['migrate'])
    const user = await makeUser(url)
    const begun = await beginSessions(url, user, 5_000)
    const owner = { url }
    await using server = await serve(url, { MAX_SESSIONS_PER_USER: '100' })
    const session = await signIn({ url: server.url, owner }, user.email)
    const list = await query(server.url, 'sessions.list', session.accessToken, { limit: 200 })
    expect(list.data.items).toHaveLength(100)
    const oldest = await auth(server.url, 'refresh', { refreshToken: begun[0]!.refreshToken })
    expect(oldest.reason).toBe('session_revoked')
    const newest = await auth(server.url, 'refresh', { refreshToken: begun.at(-1)!.refreshToken })
    expect(newest.status).toBe(200)
    const ended = await mutate(server.url, 'sessions.revokeOthers', session.accessToken, {})
    expect([ended.status, ended.data?.revoked]).toEqual([200, 99])
    expect((await command(url, ['ledger', 'verify'])).code).toBe(0)
  },
)

longTest('a session with 10,000 rotations', { timeout: 180_000 }, async () => {
  await cluster.exec('create database long')
  const url = cluster.url('long')
  await using server = await serve(url)
  const owner = { url }
  const admin = await makeUser(url, undefined, 'admin')
  const boss = await signIn({ url: server.url, owner }, admin.email)
  const session = await signIn({ url: server.url, owner })
  let { refreshToken } = session
  for (let rotation = 0; rotation < 10_000; rotation++) {
    const answer = await auth(server.url, 'refresh', { refreshToken })
    if (answer.status !== 200) expect.fail(`rotation ${rotation}: ${answer.reason}`)
    refreshToken = answer.data.refreshToken
  }
  const { familyId, email } = session
  const got = await query(server.url, 'admin.sessions.get', boss.accessToken, { familyId })
  expect(got.status).toBe(200)
  const inspected = await command(url, ['sessions', 'inspect', familyId, '--json'])
  expect(inspected.code).toBe(0)
  expect((await auth(server.url, 'refresh', { refreshToken: session.refreshToken })).reason).toBe(
    'refresh_token_reused',
  )
  expect((await command(url, ['user', 'erase', email])).code).toBe(0)
  expect((await command(url, ['ledger', 'verify'])).code).toBe(0)
})

longTest('a ledger of 300,000 events is verified and exported', { timeout: 300_000 }, async () => {
  await cluster.exec('create database big')
  const url = cluster.url('big')
  await command(url, ['migrate'])
  await fill(url, 1_000)
  // As autovacuum does within a minute: plans that were made for an empty table read all of it for each row.
  await cluster.exec('analyze', 'big')
  await fill(url, 99_000)
  const folder = mkdtempSync(join(tmpdir(), 'token-ledger-big-'))
  const file = join(folder, 'export.jsonl')
  try {
    const verified = await command(url, ['ledger', 'verify', '--json'])
    expect([verified.code, verified.stdout]).toEqual([0, expect.stringContaining('300000')])
    const exported = await command(url, ['ledger', 'export'])
    writeFileSync(file, exported.stdout)
    expect(exported.stdout.match(/\n/g)!.length).toBeGreaterThanOrEqual(300_000)
    expect((await command(url, ['ledger', 'verify-export', file])).code).toBe(0)
    await using server = await serve(url)
    const admin = await makeUser(url, undefined, 'admin')
    const boss = await signIn({ url: server.url, owner: { url } }, admin.email)
    const answer = await query(server.url, 'admin.ledger.verify', boss.accessToken, {})
    expect([answer.status, answer.data?.intact]).toEqual([200, true])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

async function fill(url: string, families: number): Promise<void> {
  const { id } = await makeUser(url)
  await fillLedger(cluster.sql(new URL(url).pathname.slice(1)), { userId: id, families })
}
