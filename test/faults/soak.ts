import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { measureAbuse } from './abuse/measure.ts'
import { startCrowd, type Crowd } from './crowd.ts'
import { failOver, takeCopy } from './failover.ts'
import { faults, type Fault } from './faults.ts'
import { findViolations } from './invariants.ts'
import { startRig, type Rig } from './rig.ts'

/**
 * `npm run soak -- --minutes N`: one fault after another in a random order, under load, for N minutes.
 * Prints a line for each; exits 1 as soon as an invariant is violated.
 *
 * `npm run soak -- --abuse [--seconds N]`: what one client costs that sends 50 requests a second (`abuse/`).
 * Prints a table; exits 1 when a limit did not hold.
 */

const crowdSize = 24
/** The load runs undisturbed between two faults for up to this long. */
const longestPauseMs = 3_000
const failOverWithinMs = 30_000

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    abuse: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '10' },
  },
})
const minutes = Number(values.minutes)
const seconds = Number(values.seconds)
if (!(minutes > 0 && seconds > 0)) {
  console.error('usage: npm run soak -- --minutes N, or npm run soak -- --abuse [--seconds N]')
  process.exit(3)
}
if (values.abuse) process.exit((await measureAbuse(seconds)) ? 0 : 1)

const endsAt = performance.now() + minutes * 60_000
const rig = await startRig()
let crowd = await startCrowd({ url: rig.url, email: rig.email, size: crowdSize })
let suffered = 0
let granted = 0
const failOverFault = { name: 'a copy is restored', recoversWithinMs: failOverWithinMs }

try {
  let violations: string[] = []
  while (violations.length === 0 && performance.now() < endsAt) {
    for (const fault of shuffled([...faults, failOverFault])) {
      if (performance.now() >= endsAt) break
      await sleep(Math.random() * longestPauseMs)
      violations = 'inflict' in fault ? await suffer(fault) : await sufferFailOver()
      if (violations.length > 0) break
    }
  }
  for (const violation of violations.slice(0, 20)) console.log(`VIOLATED ${violation}`)
  console.log(`${suffered} faults, ${granted + crowd.granted()} refreshes granted`)
  process.exitCode = violations.length === 0 ? 0 : 1
} finally {
  await crowd[Symbol.asyncDispose]()
  await rig[Symbol.asyncDispose]()
}

async function suffer({ name, recoversWithinMs, inflict }: Fault): Promise<string[]> {
  const overAt = await inflict(rig)
  const recoveredMs = await crowd.served(overAt, recoversWithinMs)
  report(name, recoveredMs)
  if (recoveredMs === null) return [`${name}: not recovered within ${recoversWithinMs} ms`]
  return check(rig, crowd)
}

/** Every client has a newer token than the copy: all are signed out, and sign in again. */
async function sufferFailOver(): Promise<string[]> {
  // At rest: an attempt that is in the copy and is answered later gives no newer token.
  await crowd.rest(failOverWithinMs)
  await takeCopy(rig)
  crowd.goOn()
  if ((await crowd.served(performance.now(), failOverWithinMs)) === null)
    return ['not served after a copy was taken']
  const violations = await check(rig, crowd)
  if (violations.length > 0) return violations
  const overAt = await failOver(rig)
  const signedOutClients = () =>
    crowd.clients.filter(({ signedOut }) => signedOut === '401 session_revoked')
  while (signedOutClients().length < crowdSize && performance.now() < overAt + failOverWithinMs)
    await sleep(50)
  const areAllSignedOut = signedOutClients().length === crowdSize
  report(failOverFault.name, areAllSignedOut ? performance.now() - overAt : null)
  if (!areAllSignedOut)
    return crowd.clients.map(({ familyId, signedOut }) => `${familyId}: ${signedOut}`)
  granted += crowd.granted()
  await crowd[Symbol.asyncDispose]()
  crowd = await startCrowd({ url: rig.url, email: rig.email, size: crowdSize })
  return check(rig, crowd)
}

async function check(on: Rig, load: Crowd): Promise<string[]> {
  await load.rest(failOverWithinMs)
  const violations = await on.ask((sql) => findViolations(sql, load.clients))
  load.goOn()
  return violations
}

function report(name: string, recoveredMs: number | null): void {
  suffered++
  const time = new Date().toISOString().slice(11, 19)
  const recovered =
    recoveredMs === null ? 'NOT RECOVERED' : `recovered in ${(recoveredMs / 1000).toFixed(1)} s`
  console.log(`${time}  ${name.padEnd(36)}  ${recovered}`)
}

function shuffled<T>(items: T[]): T[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .toSorted((one, other) => one.at - other.at)
    .map(({ item }) => item)
}
