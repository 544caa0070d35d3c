import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { serviceUrl } from '../support/admin.ts'
import { startApp } from '../support/app.ts'
import { beginSessions, type BegunSession, readHistory } from '../support/begun-sessions.ts'
import { freshDatabase } from '../support/database.ts'
import { auth } from '../support/http.ts'
import { startLedger, testCaller } from '../support/ledger.ts'
import { metricOf } from '../support/metrics.ts'
import { startServer } from '../support/server.ts'
import { kindsOf } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'
import { startDatabaseWire } from '../support/wire.ts'

/** A request that has waited for longer is not carried out. */
const maxWaitMs = 8_000

test('a refresh that is stuck in one process, while its client goes on with another, is not taken for reuse', async () => {
  const owner = await freshDatabase()
  await using wire = await startDatabaseWire(owner.url)
  const held = connect(serviceUrl(wire.url), { role: 'token_ledger_app' })
  await using stuck = await startApp({}, { owner, database: held })
  await using well = await startServer(owner.url)
  const [victim, ...others] = await beginSessions(owner.url, await makeUser(owner.url), 3)
  const { refreshToken, familyId } = victim!
  const visitors: BegunSession[] = []
  for (let i = 0; i < 20; i++)
    visitors.push(...(await beginSessions(owner.url, await makeUser(owner.url), 1)))
  // Many transactions at once, so that every connection of the pools is open.
  await Promise.all(
    visitors.map((one) =>
      auth(stuck.url, 'logout', { refreshToken: one.refreshToken, everywhere: true }),
    ),
  )

  const letGo = wire.hold()
  // One batch, and a second one because the first takes long: the next request waits behind them.
  const before = []
  for (const other of others) {
    const dispatched = await dispatchedBy(stuck)
    before.push(auth(stuck.url, 'refresh', { refreshToken: other.refreshToken }))
    await waitFor(async () => (await dispatchedBy(stuck)) > dispatched)
  }
  const attemptId = randomUUID()
  let isAnswered = false
  // The client has given up, but a proxy between them keeps the connection open.
  const late = auth(stuck.url, 'refresh', { refreshToken, attemptId }).finally(() => {
    isAnswered = true
  })
  await waitFor(async () => (await metricOf(stuck.url, 'token_ledger_rotation_queue_depth')) === 1)

  const second = await auth(well.url, 'refresh', { refreshToken, attemptId })
  const next = { refreshToken: second.data.refreshToken, attemptId: randomUUID() }
  const third = await auth(well.url, 'refresh', next)
  expect(third.status).toBe(200)
  expect(isAnswered).toBe(false)

  await sleep(maxWaitMs)
  letGo()
  expect(await late).toMatchObject({ status: 503, reason: 'service_unavailable' })
  for (const answer of await Promise.all(before)) expect([200, 503]).toContain(answer.status)
  const kinds = (await readHistory(owner.ownerSql, familyId)).map(({ kind }) => kind)
  expect(kinds).toEqual(['issued', 'rotated', 'rotated'])
  const { data } = third
  expect((await auth(well.url, 'refresh', { refreshToken: data.refreshToken })).status).toBe(200)
})

test('a refresh whose client hung up before the decision is not carried out', async () => {
  await using owner = await freshDatabase()
  await using server = await startServer(owner.url)
  const user = await makeUser(owner.url)
  const [session] = await beginSessions(owner.url, user, 1)
  const { refreshToken, familyId } = session!
  const holder = await owner.ownerSql.reserve()
  await holder`begin`
  await holder`select from token_ledger.token_family where family_id = ${familyId} for update`
  const hangUp = new AbortController()
  const gone = auth(server.url, 'refresh', { refreshToken }, {}, hangUp.signal)
  gone.catch(() => {})
  // It has been tried, and comes again every few milliseconds, because its family is locked.
  await waitFor(async () => (await dispatchedBy(server)) > 1)
  hangUp.abort()
  await expect(gone).rejects.toThrow()
  const abandoned = 'token_ledger_refreshes_total{outcome="service_unavailable"}'
  await waitFor(async () => (await metricOf(server.url, abandoned).catch(() => 0)) === 1)
  await holder`rollback`
  holder.release()
  const kinds = (await readHistory(owner.ownerSql, familyId)).map(({ kind }) => kind)
  expect(kinds).toEqual(['issued'])
  expect((await auth(server.url, 'refresh', { refreshToken })).status).toBe(200)
})

test('a refresh whose client hung up while it waited in the queue writes nothing', async () => {
  await using ledger = await startLedger()
  const { token, familyId } = await ledger.start(await ledger.makeUser())
  const request = { transport: 'body', attemptId: null, caller: testCaller } as const
  const gone = ledger.rotate({ ...request, token, isClientWaiting: () => false })
  await expect(gone).rejects.toMatchObject({ reason: 'service_unavailable' })
  expect(await kindsOf(ledger, familyId)).toEqual(['issued'])
})

/** How many refreshes have left the queue for the database. */
function dispatchedBy({ url }: { readonly url: string }): Promise<number> {
  return metricOf(url, 'token_ledger_rotation_wait_seconds_count')
}
