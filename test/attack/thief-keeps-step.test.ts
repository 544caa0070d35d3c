import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { auth, query } from '../support/http.ts'
import { kindsOf, signIn } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'

const owner = { 'x-forwarded-for': '192.0.2.7', 'user-agent': 'browser' }
const thief = { 'x-forwarded-for': '203.0.113.66', 'user-agent': 'tool' }
const thiefAsOwner = { ...thief, 'user-agent': owner['user-agent'] }

function start(env: Record<string, string> = {}): Promise<TestApp> {
  return startApp({ TRUSTED_PROXIES: '127.0.0.1/32', ...env })
}

type Headers = Record<string, string>

/**
 * The owner refreshes, and within the window another caller presents the token that the owner has just spent, up to
 * `rounds` times.
 */
async function keepStep(app: TestApp, rounds: number, follower: Headers) {
  const { familyId, refreshToken } = await signIn(app)
  let own = refreshToken
  for (let round = 1; round <= rounds; round++) {
    const spent = own
    const refreshed = await auth(
      app.url,
      'refresh',
      { refreshToken: own, attemptId: randomUUID() },
      owner,
    )
    if (refreshed.status !== 200) return { familyId, round, answer: refreshed }
    own = refreshed.data.refreshToken
    const answer = await auth(app.url, 'refresh', { refreshToken: spent }, follower)
    if (answer.status !== 200) return { familyId, round, answer }
  }
  return {
    familyId,
    round: rounds,
    answer: await auth(app.url, 'refresh', { refreshToken: own }, owner),
  }
}

async function suspicionsOf({ owner: { ownerSql } }: TestApp, familyId: string) {
  const rows = await ownerSql`
    select seq, host(ip) as ip, user_agent, host(rotation_ip) as rotation_ip, rotation_user_agent, current_generation
    from token_audit.replay_suspicions where family_id = ${familyId} order by seq`
  return [...rows]
}

test('RT-07, V2: a thief who keeps step with the owner from another network with another user agent is found at the first refresh (rule 6)', async () => {
  await using app = await start()
  const { familyId, round, answer } = await keepStep(app, 22, thief)
  expect({ round, reason: answer.reason }).toEqual({ round: 1, reason: 'refresh_token_reused' })
  expect(await kindsOf(app, familyId)).toEqual(['issued', 'rotated', 'reuse_detected'])
})

test('RT-07, V2: a thief who also sends the user agent of the owner is a suspicion after three refreshes in a row, and the session goes on', async () => {
  await using app = await start()
  const { familyId, answer } = await keepStep(app, 5, thiefAsOwner)
  expect(answer.status).toBe(200)
  // Once for the whole row of five.
  const [ip, agent] = Object.values(owner)
  expect(await suspicionsOf(app, familyId)).toEqual([
    {
      seq: 7,
      ip: thief['x-forwarded-for'],
      user_agent: agent,
      rotation_ip: ip,
      rotation_user_agent: agent,
      current_generation: 3,
    },
  ])
  const admin = await makeUser(app.owner.url, undefined, 'admin')
  const { accessToken } = await signIn(app, admin.email)
  const { data } = await query(app.url, 'admin.incidents.list', accessToken)
  expect(data.items).toMatchObject([
    {
      kind: 'replays_elsewhere',
      incidentId: `${familyId}:7`,
      familyId,
      ip: thief['x-forwarded-for'],
      rotationIp: ip,
      userAgent: agent,
      rotationUserAgent: agent,
      sameIp: false,
      sameUserAgent: true,
      generationsBehind: 1,
    },
  ])
  const metrics = await (await fetch(`${app.url}/metrics`)).text()
  expect(metrics).toContain('security_events_total{event="replays_elsewhere",reason=""} 1')
})

test('RT-07, V2: REPLAYS_ELSEWHERE=end ends the session at the third refresh in a row instead', async () => {
  await using app = await start({ REPLAYS_ELSEWHERE: 'end' })
  const { familyId, round, answer } = await keepStep(app, 22, thiefAsOwner)
  expect({ round, reason: answer.reason }).toEqual({ round: 3, reason: 'refresh_token_reused' })
  expect((await kindsOf(app, familyId)).at(-1)).toBe('reuse_detected')
  expect(await suspicionsOf(app, familyId)).toEqual([])
})

test('RT-07, V2: a copied request is answered again without a time limit (rule 5), and its replays from elsewhere count as well', async () => {
  await using app = await start({ ROTATION_GRACE_SECONDS: '0' })
  const { familyId, refreshToken } = await signIn(app)
  let own = refreshToken
  for (let round = 0; round < 3; round++) {
    const request = { refreshToken: own, attemptId: randomUUID() }
    const first = await auth(app.url, 'refresh', request, owner)
    const copied = await auth(app.url, 'refresh', request, thief)
    expect(copied.data.refreshToken).toBe(first.data.refreshToken)
    own = first.data.refreshToken
  }
  expect(await suspicionsOf(app, familyId)).toMatchObject([{ seq: 7 }])
})

test('RT-07, V2: the database notes what the service reports, for any history of replays', async () => {
  const reported: string[] = []
  await using app = await start()
  const near = { ...owner, 'x-forwarded-for': '192.0.2.250' }
  const places = [owner, near, thiefAsOwner, { ...owner, 'x-forwarded-for': '2001:db8::1' }]
  const networkAt = (i: number) => Math.max(1, i)
  // A fixed sequence that repeats nothing for long.
  let state = 7
  const roll = (sides: number) => (state = (state * 16_807) % 2_147_483_647) % sides
  for (let session = 0; session < 8; session++) {
    const { familyId, refreshToken } = await signIn(app)
    let own = refreshToken
    let inARow = 0
    for (let generation = 1, seq = 1; generation <= 12; generation++) {
      const spent = own
      const rotatedFrom = roll(4)
      own = (await auth(app.url, 'refresh', { refreshToken: own }, places[rotatedFrom])).data
        .refreshToken
      seq++
      let isElsewhere = false
      for (let replays = roll(3); replays > 0; replays--) {
        const from = roll(4)
        await auth(app.url, 'refresh', { refreshToken: spent }, places[from])
        seq++
        if (networkAt(from) !== networkAt(rotatedFrom) && !isElsewhere) {
          isElsewhere = true
          if (inARow === 2) reported.push(`${familyId}:${seq}`)
        }
      }
      inARow = isElsewhere ? inARow + 1 : 0
    }
  }
  expect(reported.length).toBeGreaterThan(2)
  const rows = await app.owner.ownerSql<{ incident_id: string }[]>`
    select incident_id from token_audit.replay_suspicions`
  expect(rows.map((row) => row.incident_id).toSorted()).toEqual(reported.toSorted())
  expect([...(await app.owner.ownerSql`select * from token_audit.verify_ledger()`)]).toEqual([])
})
