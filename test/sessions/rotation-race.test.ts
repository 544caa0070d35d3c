import { randomUUID } from 'node:crypto'
import type { Sql } from 'postgres'
import { expect, test, vi } from 'vitest'
import { foldFamily } from '../../server/ledger/family.ts'
import {
  deriveRefreshTokenKeys,
  hashSecret,
  parseRefreshToken,
} from '../../server/tokens/refresh-token.ts'
import { freshDatabase } from '../support/database.ts'
import { auth, type Answer } from '../support/http.ts'
import { startServer, testSecret, type ServerProcess } from '../support/server.ts'
import { beginSessions, readHistory, type BegunSession } from '../support/begun-sessions.ts'
import { makeUser } from '../support/users.ts'
import { repeats } from '../support/long.ts'

// Thousands of requests on a slow machine are not a failure.
vi.setConfig({ testTimeout: 300_000 })

/** As many as two processes let wait for one family. */
const presentations = 40
/** The rotation and the replays that may follow it: at most 20 for one generation. */
const grants = 21
/** Families that are raced for at the same time. */
const lanes = 5

test('RT-04, V1 (ASVS 15.4.2): one token, forty times at once in two processes, grace 0: rotated once, then reuse ends the family', async () => {
  await using race = await startRace({ ROTATION_GRACE_SECONDS: '0' })
  await race.run({ families: repeats(10, 50), rounds: 1 }, async (session) => {
    const answers = await race.present(session, () => undefined)
    const end = await expectLedgerAgrees(race.ownerSql, session.familyId, answers)
    expect(tally(answers)).toEqual({ granted: 1, refresh_token_reused: presentations - 1 })
    expect(end.kinds).toEqual(['issued', 'rotated', 'reuse_detected'])
    // The family of the one successor has ended.
    const successor = answers.find(({ status }) => status === 200)!.data.refreshToken
    const [last] = await race.present({ ...session, refreshToken: successor }, () => undefined, 1)
    expect(last).toMatchObject({ reason: 'refresh_token_reused', incidentId: end.incidentId })
    return null
  })
})

test('RT-04, RT-08, V1 (ASVS 15.4.2): one attempt, forty times at once in two processes, grace 0: one successor, for the first and twenty replays', async () => {
  await using race = await startRace({ ROTATION_GRACE_SECONDS: '0' })
  const rounds = repeats(2, 3)
  await race.run({ families: lanes, rounds }, async (session) => {
    const attemptId = randomUUID()
    return expectOneSuccessor(race, session, () => attemptId)
  })
  expect(await race.tokensHandedOut()).toBe((rounds + 1) * lanes)
})

test('RT-04, RT-07, V1, V2 (ASVS 15.4.2): one token, forty times at once in two processes, grace 10 s: one successor for all requests', async () => {
  await using race = await startRace({ ROTATION_GRACE_SECONDS: '10' })
  const rounds = repeats(3, 7)
  await race.run({ families: lanes, rounds }, async (session) =>
    expectOneSuccessor(race, session, (i) => (i % 2 === 0 ? randomUUID() : undefined)),
  )
  expect(await race.tokensHandedOut()).toBe((rounds + 1) * lanes)
})

test('RT-05 (RFC 9700 §4.14.2): a reuse in two processes ends all sessions of its user once, and none of another user (REUSE_SCOPE=user)', async () => {
  await using race = await startRace({ ROTATION_GRACE_SECONDS: '0', REUSE_SCOPE: 'user' })
  const { ownerSql, url } = race
  const [bystander] = await beginSessions(url, await makeUser(url), 1)
  const people = await Promise.all(
    Array.from({ length: repeats(6, 12) }, async () => beginSessions(url, await makeUser(url), 4)),
  )
  await Promise.all(
    people.map(async ([stolen, ...others]) => {
      // A refresh meanwhile came before the reuse, or is refused.
      const [answers, ...meanwhile] = await Promise.all([
        race.present(stolen!, () => undefined),
        ...others.map((other) => race.present(other, () => undefined, 1)),
      ])
      const end = await expectLedgerAgrees(ownerSql, stolen!.familyId, answers)
      expect(tally(answers)).toEqual({ granted: 1, refresh_token_reused: presentations - 1 })
      expect(end.kinds).toEqual(['issued', 'rotated', 'reuse_detected'])
      for (const [i, other] of others.entries()) {
        const family = await expectLedgerAgrees(ownerSql, other.familyId, meanwhile[i]!)
        expect(family.kinds.at(-1)).toBe('revoked')
        const [now] = await race.present(other, () => undefined, 1)
        expect(now).toMatchObject({ reason: 'session_revoked', incidentId: family.incidentId })
      }
    }),
  )
  const [untouched] = await race.present(bystander!, () => undefined, 1)
  expect(untouched!.status).toBe(200)
  const reasons = await ownerSql`
    select distinct reason from token_audit.events where kind = 'revoked'`
  expect(reasons.map(({ reason }) => reason)).toEqual(['reuse_elsewhere'])
})

type Race = Awaited<ReturnType<typeof startRace>>

async function startRace(env: Record<string, string>) {
  const database = await freshDatabase()
  const { url, ownerSql } = database
  const servers = await Promise.all([startServer(url, env), startServer(url, env)])
  return {
    url,
    ownerSql,
    /** Presents the token many times at once, at both processes in turn. */
    present(
      { refreshToken }: BegunSession,
      attemptIdOf: (i: number) => string | undefined,
      times = presentations,
    ): Promise<Answer[]> {
      return Promise.all(
        Array.from({ length: times }, async (_, i) => {
          const input = { refreshToken, attemptId: attemptIdOf(i) }
          for (;;) {
            const answer = await auth(serverOf(servers, i).url, 'refresh', input)
            // A busy machine sheds load: nothing was decided.
            if (answer.status !== 503) return answer
          }
        }),
      )
    },
    /** Races for this many families, some at a time, each for this many generations. */
    async run(
      { families, rounds }: { families: number; rounds: number },
      round: (session: BegunSession) => Promise<BegunSession | null>,
    ): Promise<void> {
      const waiting = await beginSessions(url, await makeUser(url), families)
      const lane = async () => {
        for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
          let session: BegunSession | null = next
          for (let i = 0; i < rounds && session !== null; i++) session = await round(session)
        }
      }
      await Promise.all(Array.from({ length: lanes }, lane))
    },
    /** Generations of all families, the first ones included. */
    async tokensHandedOut(): Promise<number> {
      const rows = await ownerSql`
        select distinct token_hash from token_ledger.token_event where token_hash is not null`
      return rows.length
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()))
      await database[Symbol.asyncDispose]()
    },
  }
}

function serverOf(servers: readonly ServerProcess[], i: number): ServerProcess {
  return servers[i % servers.length]!
}

async function expectOneSuccessor(
  race: Race,
  session: BegunSession,
  attemptIdOf: (i: number) => string | undefined,
): Promise<BegunSession> {
  const before = await readHistory(race.ownerSql, session.familyId)
  const answers = await race.present(session, attemptIdOf)
  expect(tally(answers)).toEqual({ granted: grants, too_many_attempts: presentations - grants })
  const { kinds } = await expectLedgerAgrees(race.ownerSql, session.familyId, answers)
  expect(kinds.slice(before.length)).toEqual(['rotated', ...Array(grants - 1).fill('replayed')])
  return {
    ...session,
    refreshToken: answers.find(({ status }) => status === 200)!.data.refreshToken,
  }
}

/**
 * The ledger, folded from the whole history of the family, agrees with the answers: one successor for all
 * callers, which is the current token, or the end with its incident.
 */
async function expectLedgerAgrees(ownerSql: Sql, familyId: string, answers: readonly Answer[]) {
  const history = await readHistory(ownerSql, familyId)
  const family = foldFamily(history)
  const made = history.filter(({ kind }) => kind === 'rotated')
  expect(made.map(({ generation }) => generation)).toEqual(made.map((_, i) => i + 1))

  const granted = answers.filter(({ status }) => status === 200)
  const successors = new Set(granted.map(({ data }) => data.refreshToken as string))
  expect(successors.size).toBeLessThanOrEqual(1)
  for (const successor of successors) expect(hashOf(successor)).toEqual(family.current.tokenHash)

  const incidentId = family.end === null ? undefined : `${familyId}:${family.end.seq}`
  const over = answers.filter(({ reason = '' }) => /reused$|revoked$/.test(reason))
  for (const answer of over) expect(answer.incidentId).toBe(incidentId)
  return { kinds: history.map(({ kind }) => kind), incidentId }
}

function hashOf(refreshToken: string): Buffer {
  return hashSecret(parseRefreshToken(deriveRefreshTokenKeys([testSecret]), refreshToken)!)
}

function tally(answers: readonly Answer[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { reason = 'granted' } of answers) counts[reason] = (counts[reason] ?? 0) + 1
  return counts
}
