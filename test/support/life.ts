import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { command } from './cluster.ts'
import { auth, mutate, query } from './http.ts'
import { signIn } from './sessions.ts'
import { makeUser } from './users.ts'

/** Everything that a session, an admin and the command line do, with dates near now. */
export async function liveALife(url: string, databaseUrl: string): Promise<void> {
  const owner = { url: databaseUrl } as any
  const admin = await makeUser(databaseUrl, undefined, 'admin')
  const boss = await signIn({ url, owner }, admin.email)
  const { email } = await makeUser(databaseUrl)
  const session = await signIn({ url, owner }, email)
  const nearNow = (text: string) => Math.abs(Date.parse(text) - Date.now()) < 120_000
  const refresh = (refreshToken: string) => auth(url, 'refresh', { refreshToken })

  const first = await refresh(session.refreshToken)
  expect(first.status).toBe(200)
  const sevenDaysMs = 7 * 24 * 3_600_000
  expect(
    nearNow(new Date(Date.parse(first.data.refreshExpiresAt) - sevenDaysMs).toISOString()),
  ).toBe(true)
  expect((await refresh(session.refreshToken)).data.refreshToken).toBe(first.data.refreshToken)
  const second = await refresh(first.data.refreshToken)
  const mine = await query(url, 'sessions.list', second.data.accessToken)
  expect(mine.data.items.map((one: any) => nearNow(one.createdAt))).toEqual([true])
  expect((await refresh(session.refreshToken)).reason).toBe('refresh_token_reused')
  expect((await refresh(second.data.refreshToken)).status).toBe(401)

  const other = await signIn({ url, owner }, email)
  const last = await signIn({ url, owner }, email)
  expect((await mutate(url, 'sessions.revokeOthers', last.accessToken, {})).status).toBe(200)
  expect((await refresh(other.refreshToken)).reason).toBe('session_revoked')
  const { refreshToken } = last
  expect((await auth(url, 'logout', { refreshToken })).data.revoked).toBe(1)

  const range = {
    from: new Date(Date.now() - 3_600_000).toISOString(),
    to: new Date(Date.now() + 60_000).toISOString(),
  }
  const { familyId } = session
  const asked: Record<string, unknown> = {
    'admin.sessions.list': { email },
    'admin.users.list': {},
    'admin.ledger.events': range,
    'admin.ledger.verify': {},
    'admin.incidents.list': range,
    'admin.stats': { ...range, bucket: 'minute' },
    'admin.sessions.get': { familyId },
    'admin.sessions.stateAt': { familyId, at: range.to },
  }
  for (const [procedure, input] of Object.entries(asked)) {
    const answer = await query(url, procedure, boss.accessToken, input)
    expect([procedure, answer.status, answer.reason]).toEqual([procedure, 200, undefined])
    const dates = JSON.stringify(answer.data).matchAll(/"(?:createdAt|occurredAt)":"([^"]*)"/g)
    for (const [, date = ''] of dates)
      expect([procedure, date, nearNow(date)]).toEqual([procedure, date, true])
  }
  await useCommandLine(databaseUrl, email, familyId)
}

async function useCommandLine(url: string, email: string, familyId: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'token-ledger-settings-'))
  const file = join(folder, 'export.jsonl')
  try {
    const commands = [
      ['sessions', 'list', '--user', email, '--json'],
      ['sessions', 'inspect', familyId],
      ['sql', 'select occurred_at, since_rotation from token_audit.reuse_incidents'],
      ['ledger', 'export'],
      ['ledger', 'verify-export', file],
      ['user', 'erase', email],
      ['ledger', 'verify', '--json'],
    ]
    for (const args of commands) {
      const done = await command(url, args)
      expect([args, done.code, done.stderr]).toEqual([args, 0, expect.any(String)])
      if (args[1] === 'export') writeFileSync(file, done.stdout)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
