import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Counters } from '../../server/limits/counters.ts'
import { createRefreshLimits } from '../../server/limits/refresh-limits.ts'
import type { SecurityEvent } from '../../server/observability/security-log.ts'

const lifetimes = { accessTokenMs: 900_000, maxSessionsPerUser: 100 }

function limitsOf(with_: Partial<typeof lifetimes> = {}) {
  const events: SecurityEvent[] = []
  const limits = createRefreshLimits({ take: async () => [] } as unknown as Counters, {
    lifetimes: { ...lifetimes, ...with_ },
    log: (event) => events.push(event),
  })
  const refreshed = async (familyId: string, userId: string) => {
    const refusal = await limits.beforeRefresh(familyId)
    if (refusal === null) limits.afterRefresh({ familyId, userId, ip: '192.0.2.1' })
    return refusal?.reason ?? 'granted'
  }
  return { limits, events, refreshed }
}

test('RT-22: the refreshes of all sessions of a user share a limit, and those of other users do not count', async () => {
  const { refreshed } = limitsOf()
  const user = randomUUID()
  const families = Array.from({ length: 90 }, () => randomUUID())
  const outcomes: string[] = []
  for (let i = 0; i < 900; i++) outcomes.push(await refreshed(families[i % 90]!, user))
  const granted = outcomes.filter((outcome) => outcome === 'granted').length
  expect(granted).toBeGreaterThanOrEqual(300)
  expect(granted).toBeLessThanOrEqual(300 + 90)
  expect(new Set(outcomes.slice(-400))).toEqual(new Set(['too_many_attempts']))
  expect(await refreshed(randomUUID(), randomUUID())).toBe('granted')
})

test('RT-22: no honest use reaches the limit of a user: every session refreshes twice in the life of an access token', async () => {
  const { refreshed } = limitsOf({ accessTokenMs: 10_000 })
  const user = randomUUID()
  const families = Array.from({ length: 100 }, () => randomUUID())
  for (let i = 0; i < 1_200; i++) expect(await refreshed(families[i % 100]!, user)).toBe('granted')
})

test('the rows that one user adds to the ledger in an hour raise one alert, with the user and the address', () => {
  const { limits, events } = limitsOf()
  const userId = randomUUID()
  for (let i = 0; i < 2_500; i++)
    limits.afterRefresh({ familyId: randomUUID(), userId, ip: '192.0.2.1' })
  expect(events).toEqual([{ event: 'ledger_rows_exceeded', userId, rows: 2_000, ip: '192.0.2.1' }])
})
