import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Caller } from '../../server/ledger/caller.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { beginSessions, type BegunSession } from '../support/begun-sessions.ts'
import { stopClock } from '../support/clock.ts'
import { graceMs } from '../support/family-events.ts'
import { auth } from '../support/http.ts'
import {
  begin,
  theftScenario,
  expectOwnerStaysSignedIn,
  expectThiefFound,
  ownerScenario,
  type Token,
  type World,
} from '../support/theft.ts'
import { makeUser } from '../support/users.ts'
import { repeats } from '../support/long.ts'

/** The properties of `test/ledger/theft-model.test.ts`, tested on the running service: HTTP, Postgres and its clock. */

const runs = repeats(40, 150)
const seed = Date.now() | 0
/** More than any run, and any shrinking of a failed one, uses. */
const sessionsAtHand = repeats(400, 1_000)

let app: TestApp
let sessions: BegunSession[]
let startsAt: number

beforeAll(async () => {
  app = await startApp({
    ROTATION_GRACE_SECONDS: String(graceMs / 1000),
    TRUSTED_PROXIES: '127.0.0.1/32',
  })
  startsAt = Date.now()
  await stopClock(app.owner.ownerSql, startsAt)
  sessions = await beginSessions(app.owner.url, await makeUser(app.owner.url), sessionsAtHand)
}, 120_000)

afterAll(() => app?.[Symbol.asyncDispose]())

test('the running service never signs out an honest user with two tabs, a bad connection, changing networks and a browser that is killed (docs/reference/rotation.md)', async () => {
  await fc.assert(
    fc.asyncProperty(ownerScenario, async (scenario) => {
      await expectOwnerStaysSignedIn(await newWorld(), scenario)
    }),
    { numRuns: runs, seed },
  )
  await expectIntact(0)
}, 240_000)

test.each(['owner', 'thief'] as const)(
  'the running service finds a thief who was granted a refresh within one more rotation of the %s (RFC 9700 §4.14.2)',
  async (nextToRefresh) => {
    const before = await countIncidents()
    let found = 0
    await fc.assert(
      fc.asyncProperty(theftScenario, async (scenario) => {
        const world = await newWorld()
        await expectThiefFound(world, scenario, nextToRefresh)
        if (world.expected.isOver) found++
      }),
      { numRuns: runs, seed },
    )
    expect(found, `seed ${seed}`).toBeGreaterThan(runs / 5)
    await expectIntact(before + found)
  },
  240_000,
)

/** A session of its own. The database's clock is stopped and starts again from the beginning. */
async function newWorld(): Promise<World> {
  let now = startsAt
  await stopClock(app.owner.ownerSql, now)
  const { refreshToken } = sessions.pop()!
  return begin(
    {
      async present({ token, attempt, previous, caller }) {
        const input = {
          refreshToken: token.value,
          previousAttemptIds: previous,
          ...(attempt !== null && { attemptId: attempt }),
        }
        const { status, data, reason } = await auth(app.url, 'refresh', input, headersOf(caller))
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

/** As the trusted proxy sends them. */
function headersOf({ ip, userAgent }: Caller): Record<string, string> {
  return { 'x-forwarded-for': ip ?? '', 'user-agent': userAgent ?? '' }
}

/** The generation follows the family's 16 bytes. */
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
