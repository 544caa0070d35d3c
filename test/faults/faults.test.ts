import { afterAll, beforeAll, expect, test } from 'vitest'
import { runsLong } from '../support/long.ts'
import { startCrowd, type Crowd } from './crowd.ts'
import { faults } from './faults.ts'
import { findViolations } from './invariants.ts'
import { startRig, type Rig } from './rig.ts'

/**
 * FS-01, FS-02, RT-09 (ASVS 5.0, 2.3.3 and 16.5.3): whatever breaks below, under load, nothing is half
 * done, no honest client is signed out, and the service recovers by itself.
 */

let rig: Rig
let crowd: Crowd

beforeAll(async () => {
  rig = await startRig()
  crowd = await startCrowd({ url: rig.url, email: rig.email, size: 16 })
}, 120_000)

afterAll(async () => {
  await crowd?.[Symbol.asyncDispose]()
  await rig?.[Symbol.asyncDispose]()
}, 60_000)

test.each(faults.filter(({ takesLong }) => runsLong || takesLong === undefined))(
  'FS-01, FS-02, FS-04, RT-09, LE-04, V27 (ASVS 2.3.3 and 16.5.3): $name: recovered within $recoversWithinMs ms, no honest client signed out, the ledger verifies',
  async ({ inflict, recoversWithinMs }) => {
    expect(await crowd.served(performance.now(), 30_000)).not.toBeNull()
    const before = { pid: rig.server().pid, disturbed: crowd.disturbed() }
    const overAt = await inflict(rig)
    const recoveredMs = await crowd.served(overAt, recoversWithinMs)
    expect(recoveredMs, 'every client was served again').not.toBeNull()
    await crowd.rest(recoversWithinMs)
    const violations = await rig.ask((sql) => findViolations(sql, crowd.clients))
    crowd.goOn()
    expect(violations).toEqual([])
    // The fault was real, and the process that met it is alive, unless the fault was to kill it.
    expect(crowd.disturbed()).toBeGreaterThan(before.disturbed)
    expect((await fetch(`${rig.url}/readyz`)).status).toBe(200)
    if (inflict !== faults[0]!.inflict) expect(rig.server().pid).toBe(before.pid)
    process.kill(rig.server().pid, 0)
  },
  120_000,
)
