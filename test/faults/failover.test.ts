import { expect, test } from 'vitest'
import { startCrowd, type Client } from './crowd.ts'
import { failOver, takeCopy } from './failover.ts'
import { findViolations } from './invariants.ts'
import { startRig, type Rig } from './rig.ts'

const withinMs = 30_000

test('LE-08 (ASVS 16.5.3): the database is lost and restored from a copy of an hour ago: who moved on is told session_revoked, and it is reported; all others go on', async () => {
  await using rig = await startRig()
  const crowdOf = (size: number) => startCrowd({ url: rig.url, email: rig.email, size })
  await using movers = await crowdOf(4)
  await using sleepers = await crowdOf(4)
  expect(await movers.served(performance.now(), withinMs)).not.toBeNull()
  expect(await sleepers.served(performance.now(), withinMs)).not.toBeNull()
  await sleepers.rest(withinMs)
  await movers.rest(withinMs)

  await takeCopy(rig)
  const copied = new Map(movers.clients.map((one) => [one.familyId, one.generation]))
  const historyOf = (clients: readonly Client[]) => eventsOf(rig, clients)
  const history = await historyOf(movers.clients)
  movers.goOn()
  expect(await movers.served(performance.now(), withinMs)).not.toBeNull()
  await using newcomers = await crowdOf(2)
  expect(await newcomers.served(performance.now(), withinMs)).not.toBeNull()
  // At rest, so that none holds a token that the copy knows as its newest.
  await movers.rest(withinMs)
  await newcomers.rest(withinMs)

  const overAt = await failOver(rig)
  for (const crowd of [movers, newcomers, sleepers]) crowd.goOn()
  expect(await sleepers.served(overAt, withinMs)).not.toBeNull()
  await sleepers.rest(withinMs)
  const left = [...movers.clients, ...newcomers.clients]
  await expect
    .poll(() => left.map(({ signedOut }) => signedOut), { timeout: withinMs })
    .toEqual(left.map(() => '401 session_revoked'))

  // Nothing was written of them, and whom the copy knows as they are, goes on.
  expect(await historyOf(left)).toEqual(history)
  expect(await rig.ask((sql) => findViolations(sql, sleepers.clients))).toEqual([])

  const reported = factsOf(rig.server().output()).filter(
    ({ fact }) => fact === 'token_ahead_of_ledger',
  )
  expect(reported.map(({ level }) => level)).toEqual(left.map(() => 40))
  for (const { familyId, generation } of left)
    expect(reported).toContainEqual(
      expect.objectContaining({
        familyId,
        presentedGeneration: generation,
        currentGeneration: copied.get(familyId) ?? null,
      }),
    )
  const metrics = await (await fetch(`${rig.url}/metrics`)).text()
  expect(metrics).toMatch(
    new RegExp(
      `^token_ledger_security_events_total\\{event="token_ahead_of_ledger".*\\} ${left.length}$`,
      'm',
    ),
  )
  // They sign in again.
  await using again = await crowdOf(1)
  expect(await again.served(performance.now(), withinMs)).not.toBeNull()
}, 180_000)

function eventsOf(rig: Rig, clients: readonly Client[]): Promise<unknown[]> {
  return rig.ask(async (sql) => {
    const rows = await sql`
      select family_id, seq, kind, generation, encode(hash, 'hex') as hash
      from token_audit.events
      where family_id = any(${clients.map(({ familyId }) => familyId)}::uuid[])
      order by family_id, seq`
    return [...rows]
  })
}

function factsOf(output: string): Record<string, unknown>[] {
  return output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}
