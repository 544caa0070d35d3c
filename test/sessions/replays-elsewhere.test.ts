import { expect, test } from 'vitest'
import type { FastifyBaseLogger } from 'fastify'
import { createSecurityLog, type SecurityEvent } from '../../server/observability/security-log.ts'
import { createRotation } from '../../server/sessions/rotation.ts'
import { startLedger, testCaller } from '../support/ledger.ts'
import { recordStatements } from '../support/recorded-statements.ts'

const elsewhere = { ...testCaller, ip: '2001:db8:7::1' }

test('a replay is logged with its address and the address of the rotation, and three in a row from elsewhere as a warning with both places', async () => {
  await using ledger = await startLedger()
  const logged: SecurityEvent[] = []
  const { rotate } = createRotation({ ...ledger.deps, logSecurityEvent: (e) => logged.push(e) })
  const user = await ledger.makeUser()
  const { familyId, token } = await ledger.start(user)
  const refresh = (presented: typeof token, caller = testCaller) =>
    rotate({ token: presented, transport: 'body', attemptId: null, caller })

  let spent = token
  for (let generation = 1; generation <= 4; generation++) {
    const next = await refresh(spent)
    // The owner's second tab, and then somewhere else.
    await refresh(spent)
    await refresh(spent, elsewhere)
    spent = next.token
  }

  const of = { familyId, userId: user.id }
  const ips = { ip: testCaller.ip, rotationIp: testCaller.ip }
  const replayed = { event: 'session_replayed', ...of, reason: 'grace_window', ...ips }
  const near = { ...replayed, isElsewhere: false }
  const far = { ...replayed, ip: elsewhere.ip, isElsewhere: true }
  const suspicion = {
    event: 'replays_elsewhere',
    ...of,
    incidentId: `${familyId}:10`,
    ...ips,
    ip: elsewhere.ip,
    userAgent: elsewhere.userAgent,
    rotationUserAgent: testCaller.userAgent,
  }
  expect(logged).toEqual([near, far, near, far, near, far, suspicion, near, far])
})

test('the security log writes a suspicion as a warning', () => {
  const lines: string[] = []
  const write = (level: string) => (event: SecurityEvent) => lines.push(`${level} ${event.event}`)
  const log = { info: write('info'), warn: write('warn') } as unknown as FastifyBaseLogger
  const { logSecurityEvent } = createSecurityLog(log, {
    count: () => {},
    subjects: { of: () => new Map() },
  })
  const of = { familyId: 'f', userId: 'u', ip: null, rotationIp: null }
  logSecurityEvent({ event: 'session_replayed', ...of, reason: 'same_attempt', isElsewhere: true })
  const agents = { userAgent: null, rotationUserAgent: null }
  logSecurityEvent({ event: 'replays_elsewhere', ...of, ...agents, incidentId: 'f:7' })
  expect(lines).toEqual(['info session_replayed', 'warn replays_elsewhere'])
})

test('a rotation sends two statements and a replay one more', async () => {
  await using ledger = await startLedger()
  const { sql, statements } = recordStatements(ledger.owner.url)
  try {
    const { rotate } = createRotation({ ...ledger.deps, sql })
    const session = await ledger.start(await ledger.makeUser())
    const request = { token: session.token, transport: 'body', attemptId: null } as const
    const sent = async (caller = testCaller) => {
      statements.length = 0
      await rotate({ ...request, caller })
      return statements.filter((query) => query.includes('token_ledger')).length
    }
    expect(await sent()).toBe(2)
    expect(await sent()).toBe(3)
    expect(await sent(elsewhere)).toBe(3)
  } finally {
    await sql.end()
  }
})
