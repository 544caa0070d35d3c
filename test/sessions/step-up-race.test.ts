import { randomUUID } from 'node:crypto'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { foldFamily } from '../../server/ledger/family.ts'
import {
  deriveRefreshTokenKeys,
  hashSecret,
  parseRefreshToken,
} from '../../server/tokens/refresh-token.ts'
import { beginSessions, readHistory, type BegunSession } from '../support/begun-sessions.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { auth, mutate, type Answer } from '../support/http.ts'
import { repeats } from '../support/long.ts'
import { seeded } from '../support/proxy.ts'
import { startServer, testSecret, type ServerProcess } from '../support/server.ts'
import { makeUser, testPassword } from '../support/users.ts'

const ways = repeats(4, 50)
const random = seeded(20_261_126)
const draw = (most: number) => Math.floor(random() * (most + 1))

let database: FreshDatabase
let servers: ServerProcess[]
let sessions: BegunSession[]
/** Of another session of the same user. */
let accessToken: string

beforeAll(async () => {
  database = await freshDatabase()
  // One issuer, so that each process accepts the tokens of the other.
  const env = { PUBLIC_URL: 'http://127.0.0.1:3000' }
  servers = await Promise.all([startServer(database.url, env), startServer(database.url, env)])
  const user = await makeUser(database.url)
  sessions = await beginSessions(database.url, user, ways)
  const input = { email: user.email, password: testPassword, transport: 'body' }
  accessToken = (await auth(either(), 'login', input)).data.accessToken
}, 60_000)
afterAll(async () => {
  await Promise.all((servers ?? []).map((server) => server[Symbol.asyncDispose]()))
  await database?.[Symbol.asyncDispose]()
})

test('PW-12 (ASVS 7.2.4): step-up racing refreshes, replays and revocations in two processes: never two live tokens, no honest client signed out, the old token dead at once, and a lost answer is repeated by its attempt', async () => {
  for (const [way, session] of sessions.entries()) await raceFor(session, way % 3 === 2)
}, 180_000)

async function raceFor({ familyId, refreshToken }: BegunSession, isRevoked: boolean) {
  // The tabs of one client share the attempt of a token.
  const attemptId = randomUUID()
  const calls = [
    () => stepUp(refreshToken, attemptId, AbortSignal.timeout(draw(60))),
    ...Array.from({ length: 1 + draw(2) }, () => () => stepUp(refreshToken, attemptId)),
    ...Array.from({ length: draw(4) }, () => () => refresh(refreshToken, attemptId)),
  ].toSorted(() => random() - 0.5)
  const racing = calls.map((call) => call())
  const revoking = isRevoked && mutate(either(), 'sessions.revoke', accessToken, { familyId })

  const answered = await Promise.all(racing)
  if (revoking) expect((await revoking).status).toBe(200)
  const repeated = [await stepUp(refreshToken, attemptId), await refresh(refreshToken, attemptId)]
  const answers = [...answered, ...repeated].filter((answer) => answer !== null)
  const granted = answers.filter(({ status }) => status === 200)
  const refused = answers.flatMap(({ reason }) => reason ?? [])
  expect(new Set(refused)).toEqual(new Set(isRevoked ? ['session_revoked'] : []))
  // One successor, whichever call made it.
  const tokens = [...new Set(granted.map(({ data }) => data.refreshToken as string))]
  expect(tokens.length).toBeLessThanOrEqual(1)
  const family = foldFamily(await readHistory(database.ownerSql, familyId))
  for (const token of tokens) expect(hashOf(token)).toEqual(family.current.tokenHash)
  if (isRevoked) {
    expect(family.end?.kind).toBe('revoked')
    for (const token of tokens) expect(await reasonFor(token)).toBe('session_revoked')
    return
  }

  // The client goes on, and a thief of the token of before is found.
  const [token] = tokens
  const isDone = repeated[0]!.data.isReauthenticated === true
  const done = isDone ? repeated[0]! : (await stepUp(token!, randomUUID()))!
  expect(done.data.isReauthenticated).toBe(true)
  const next = (await refresh(done.data.refreshToken, randomUUID()))!
  expect(next.status).toBe(200)
  expect(authTimeIn(next)).toBe(authTimeIn(done))
  expect(await reasonFor(isDone ? refreshToken : token!)).toBe('refresh_token_reused')
}

/** @returns null when the answer was lost */
function stepUp(refreshToken: string, attemptId: string, lost: AbortSignal | null = null) {
  return answerOf('reauthenticate', { refreshToken, attemptId, password: testPassword }, lost)
}

function refresh(refreshToken: string, attemptId: string) {
  return answerOf('refresh', { refreshToken, attemptId })
}

async function reasonFor(refreshToken: string): Promise<string | undefined> {
  return (await refresh(refreshToken, randomUUID()))?.reason
}

async function answerOf(
  procedure: string,
  input: object,
  lost: AbortSignal | null = null,
): Promise<Answer | null> {
  const url = either()
  for (;;) {
    const answer = await auth(url, procedure, input, {}, lost).catch((error: Error) => {
      if (lost?.aborted) return null
      throw error
    })
    // A busy machine sheds load: nothing was decided.
    if (answer?.status !== 503) return answer
  }
}

function either(): string {
  return servers[draw(1)]!.url
}

function hashOf(refreshToken: string): Buffer {
  return hashSecret(parseRefreshToken(deriveRefreshTokenKeys([testSecret]), refreshToken)!)
}

function authTimeIn({ data }: Answer): unknown {
  return decodeJwt(data.accessToken)['auth_time']
}
