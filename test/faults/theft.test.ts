import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { beginSessions, type BegunSession } from '../support/begun-sessions.ts'
import { stopClock } from '../support/clock.ts'
import { graceMs } from '../support/family-events.ts'
import { auth } from '../support/http.ts'
import {
  begin,
  daysWithThief,
  expectHonestPairUnharmed,
  expectThiefFound,
  honestDays,
  type Token,
  type World,
} from '../support/theft.ts'
import { makeUser } from '../support/users.ts'

/** The properties of `test/ledger/theft-model.test.ts`, of the service as it runs: HTTP, Postgres and its clock. */

const runs = 150
/** More than any run, and any shrinking of a failed one, begins. */
const sessionsAtHand = 1_000

let app: TestApp
let sessions: BegunSession[]
let startsAt: number

beforeAll(async () => {
  app = await startApp({ ROTATION_GRACE_SECONDS: String(graceMs / 1000) })
  startsAt = Date.now()
  await stopClock(app.owner.ownerSql, startsAt)
  sessions = await beginSessions(app.owner.url, await makeUser(app.owner.url), sessionsAtHand)
}, 120_000)

afterAll(() => app?.[Symbol.asyncDispose]())

test('the service never detects reuse by an honest pair with a bad line, nor signs it out (docs/reference/rotation.md, rules 5 and 6)', async () => {
  await fc.assert(
    fc.asyncProperty(honestDays, async (days) => {
      await expectHonestPairUnharmed(await newWorld(), days)
    }),
    { numRuns: runs },
  )
  await expectIntact(0)
}, 240_000)

test.each(['owner', 'thief'] as const)(
  'a thief who was let in is found within one more rotation, when the %s goes on (RFC 9700 §4.14.2)',
  async (whoGoesOn) => {
    const before = await countIncidents()
    let found = 0
    await fc.assert(
      fc.asyncProperty(daysWithThief, async (days) => {
        const world = await newWorld()
        await expectThiefFound(world, days, whoGoesOn)
        if (world.law.isOver) found++
      }),
      { numRuns: runs },
    )
    expect(found).toBeGreaterThan(runs / 5)
    await expectIntact(before + found)
  },
  240_000,
)

/** A session of its own; the clock of the database stands, and begins anew. */
async function newWorld(): Promise<World> {
  let now = startsAt
  await stopClock(app.owner.ownerSql, now)
  const { refreshToken } = sessions.pop()!
  return begin(
    {
      async present({ value }, attemptId) {
        const input = { refreshToken: value, ...(attemptId !== null && { attemptId }) }
        const { status, data, reason } = await auth(app.url, 'refresh', input)
        return status === 200
          ? { granted: tokenOf(data.refreshToken) }
          : { refused: reason ?? String(status) }
      },
      async wait(ms) {
        now += ms
        await stopClock(app.owner.ownerSql, now)
      },
    },
    tokenOf(refreshToken),
  )
}

/** The generation stands after the family's 16 bytes. */
function tokenOf(value: string): Token {
  const bytes = Buffer.from(value.replace('tlr1.', ''), 'base64url')
  return { generation: bytes.readUInt32BE(16), value }
}

async function expectIntact(incidents: number): Promise<void> {
  expect([...(await app.owner.ownerSql`select * from token_audit.verify_ledger()`)]).toEqual([])
  expect(await countIncidents()).toBe(incidents)
}

async function countIncidents(): Promise<number> {
  const [row] = await app.owner.ownerSql<{ found: number }[]>`
    select count(*)::integer as found from token_audit.reuse_incidents`
  return row!.found
}
