import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql } from 'postgres'
import { expect, test, vi } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { createAccounts } from '../../server/users/accounts.ts'
import { createPasswords } from '../../server/users/passwords.ts'
import { endAllSessions } from '../../server/sessions/revocation.ts'
import { disableUser } from '../../server/admin/users.ts'
import type { User } from '../../server/users/directory.ts'
import { startApp } from '../support/app.ts'
import { freshDatabase } from '../support/database.ts'
import { shutGate } from '../support/gate.ts'
import { waitFor } from '../support/wait.ts'
import { auth, mutate, query, type Answer } from '../support/http.ts'
import { startServer } from '../support/server.ts'
import { beginSessions } from '../support/begun-sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { repeats } from '../support/long.ts'

// This file hashes hundreds of passwords.
vi.setConfig({ testTimeout: 120_000 })

const rounds = repeats(10, 50)
const lanes = 4
const newPassword = 'another horse, another staple'
const noActor = { actorUserId: null, caller: { ip: null, userAgent: null } } as const

/** The ways to end all sessions; in two of them the calling session goes on. */
const ways = {
  'a logout everywhere': {
    callerGoesOn: false,
    end: ({ url, callingSession }: Round) =>
      auth(url, 'logout', { refreshToken: callingSession.refreshToken, everywhere: true }),
  },
  'an end of the other sessions': {
    callerGoesOn: true,
    end: ({ url, callingSession }: Round) =>
      mutate(url, 'sessions.revokeOthers', callingSession.accessToken),
  },
  'a change of the password': {
    callerGoesOn: true,
    end: ({ url, callingSession }: Round) =>
      mutate(url, 'account.changePassword', callingSession.accessToken, {
        currentPassword: testPassword,
        newPassword,
      }),
  },
  'a disabling of the user': {
    callerGoesOn: false,
    end: async ({ disable }: Round) => {
      await disable()
      return null
    },
  },
}

type Session = { readonly refreshToken: string; readonly accessToken: string }
type Round = {
  readonly url: string
  readonly callingSession: Session
  readonly disable: () => Promise<unknown>
}

for (const [way, { end, callerGoesOn }] of Object.entries(ways)) {
  test(`RT-17, AD-03, V5 (ASVS 15.4.2): once ${way} has returned, no session or sign-in that began before it works`, async () => {
    await using service = await startTwo()
    const urls = service.servers.map(({ url }) => url)
    await service.inLanes(async (user, round) => {
      const begun = await beginSessions(service.databaseUrl, user, 4)
      const [callingSession, ...others] = await Promise.all(
        begun.map(
          async ({ refreshToken }) => (await auth(urls[0]!, 'refresh', { refreshToken })).data,
        ),
      )
      const race = { isOver: false }
      // Each refreshes its newest token as fast as it can, at both processes in turn.
      const refreshing = others.map(async ({ refreshToken }: Session, lane) => {
        let newest: string = refreshToken
        for (let i = lane; !race.isOver; i++) {
          const answer = await auth(urls[i % 2]!, 'refresh', { refreshToken: newest })
          // On a busy machine the service may shed load: then nothing was decided.
          if (answer.status === 503) continue
          if (answer.status !== 200) return { newest, refused: answer }
          newest = answer.data.refreshToken
        }
        return { newest, refused: null }
      })
      const signingIn = urls.map((url) =>
        auth(url, 'login', { email: user.email, password: testPassword, transport: 'body' }),
      )
      await waitFor(async () => (await service.epochsRead(user)) === signingIn.length)
      await sleep(Math.random() * 150)
      const disable = () => service.disable(user)
      const ended = await end({ url: urls[round % 2]!, callingSession, disable })
      race.isOver = true
      expect(ended?.status ?? 200).toBe(200)

      for (const { newest, refused } of await Promise.all(refreshing)) {
        if (refused !== null) expectOver(refused)
        expectOver(await auth(urls[round % 2]!, 'refresh', { refreshToken: newest }))
      }
      for (const answer of await Promise.all(signingIn))
        await expectNoWayIn(urls[round % 2]!, answer)
      const next = await auth(urls[0]!, 'refresh', { refreshToken: callingSession.refreshToken })
      expect(next.reason).toBe(callerGoesOn ? undefined : 'session_revoked')
    })
    const active = await service.ownerSql`
      select user_id, count(*)::int from token_audit.sessions where status = 'active' group by 1`
    expect(active.map(({ count }) => count)).toEqual(
      Array.from({ length: callerGoesOn ? rounds : 0 }, () => 1),
    )
  })
}

test('RT-16, V4 (ASVS 7.4.3): a change of the password ends old refresh tokens and old access tokens of every other session', async () => {
  await using app = await startApp()
  const { email } = await makeUser(app.owner.url)
  const own = await signIn(app.url, email)
  const other = await signIn(app.url, email)
  const input = { currentPassword: testPassword, newPassword }
  const changed = await mutate(app.url, 'account.changePassword', own.accessToken, input)
  expect(changed.data).toEqual({ success: true, revoked: 1 })
  await expectNothingWorks(app.url, other)
  expect((await query(app.url, 'sessions.list', own.accessToken)).status).toBe(200)
  const old = await auth(app.url, 'login', { email, password: testPassword })
  expect(old.reason).toBe('invalid_credentials')
  expect((await auth(app.url, 'login', { email, password: newPassword })).status).toBe(200)
})

test('RT-16, V4 (ASVS 7.4.2): disabling a user ends old refresh tokens and old access tokens and refuses sign-ins', async () => {
  await using app = await startApp()
  const user = await makeUser(app.owner.url)
  const session = await signIn(app.url, user.email)
  const { accounts } = createAccounts(app.database, createPasswords())
  const deps = { sql: app.database.transactions, logSecurityEvent: () => {}, accounts }
  expect(await disableUser(deps, user.id, noActor)).toBe(1)
  await expectNothingWorks(app.url, session)
  const again = await auth(app.url, 'login', { email: user.email, password: testPassword })
  expect(again.reason).toBe('invalid_credentials')
})

test('AT-15, V4 (ASVS 7.4.2): a user who is disabled between the look-up and the epoch of a sign-in is not signed in', async () => {
  await using app = await startApp()
  const user = await makeUser(app.owner.url)
  await using owner = connectAsOwner(app.owner.url)
  // The look-up waits here and has already read the user.
  await using gate = await shutGate(app.owner.ownerSql, 'user_account')
  const signingIn = auth(app.url, 'login', { email: user.email, password: testPassword })
  await waitFor(() => gate.firstWaiter())
  await disableUser(owner.deps, user.id, noActor)
  await gate[Symbol.asyncDispose]()
  expect((await signingIn).reason).toBe('invalid_credentials')
  expect(await app.owner.ownerSql`select from token_ledger.token_family`).toHaveLength(0)
})

test('RT-17 (ASVS 15.4.2): a change of the password by a session that was ended meanwhile changes nothing', async () => {
  await using app = await startApp()
  const user = await makeUser(app.owner.url)
  const thief = await signIn(app.url, user.email)
  await using owner = connectAsOwner(app.owner.url)
  const gate = await shutGate(app.owner.ownerSql, 'user_account')
  const input = { currentPassword: testPassword, newPassword }
  const changing = mutate(app.url, 'account.changePassword', thief.accessToken, input)
  await waitFor(() => gate.firstWaiter())
  await endAllSessions(owner.deps, user.id, { by: { reason: 'admin_revoked', ...noActor } })
  await gate[Symbol.asyncDispose]()
  expect((await changing).reason).toBe('access_token_revoked')
  await signIn(app.url, user.email)
})

/** A sign-in that was refused, or whose session ended before its client could use it. */
async function expectNoWayIn(url: string, answer: Answer): Promise<void> {
  const isIn = answer.status === 200
  const refreshed = isIn
    ? await auth(url, 'refresh', { refreshToken: answer.data.refreshToken })
    : answer
  const called = isIn ? await query(url, 'sessions.list', answer.data.accessToken) : answer
  expect(['session_revoked', 'invalid_credentials']).toContain(refreshed.reason)
  expect(['session_revoked', 'invalid_credentials', 'access_token_revoked']).toContain(
    called.reason,
  )
}

/** Makes the database count how many sign-ins of a user have read the epoch: those have begun. */
async function countEpochReads(ownerSql: Sql): Promise<void> {
  await ownerSql.unsafe(`
    create table public.epoch_read (user_id uuid);
    create function public.note_epoch_read(uuid) returns boolean
    language plpgsql volatile security definer as $$
    begin
      if current_query() ~ '^\\s*select epoch\\s' then
        insert into public.epoch_read values ($1);
      end if;
      return true;
    end $$;
    alter table token_ledger.user_epoch enable row level security;
    create policy note_read on token_ledger.user_epoch to token_ledger_app
    using (public.note_epoch_read(user_id)) with check (true)`)
}

async function signIn(url: string, email: string): Promise<Session> {
  const answer = await auth(url, 'login', { email, password: testPassword, transport: 'body' })
  expect(answer.status).toBe(200)
  return answer.data
}

async function expectNothingWorks(url: string, session: Session): Promise<void> {
  expectOver(await auth(url, 'refresh', { refreshToken: session.refreshToken }))
  const input = { currentPassword: testPassword, newPassword }
  const { accessToken } = session
  for (const answer of [
    await query(url, 'sessions.list', accessToken),
    await mutate(url, 'sessions.revokeOthers', accessToken),
    await mutate(url, 'account.changePassword', accessToken, input),
  ])
    expect(answer).toMatchObject({ status: 401, reason: 'access_token_revoked' })
}

function expectOver(answer: Answer): void {
  expect(answer).toMatchObject({ status: 401, reason: 'session_revoked' })
}

/** As the owner, whom the gate does not stop. */
function connectAsOwner(databaseUrl: string) {
  const database = connect(databaseUrl)
  const { accounts } = createAccounts(database, createPasswords())
  return {
    deps: { sql: database.transactions, logSecurityEvent: () => {}, accounts },
    [Symbol.asyncDispose]: () => database.close(),
  }
}

async function startTwo() {
  const database = await freshDatabase()
  const { url: databaseUrl, ownerSql } = database
  await countEpochReads(ownerSql)
  // One issuer, so that each process accepts the tokens of the other.
  const env = { PUBLIC_URL: 'http://127.0.0.1:3000' }
  const servers = await Promise.all([startServer(databaseUrl, env), startServer(databaseUrl, env)])
  const service = connect(databaseUrl, { role: 'token_ledger_app' })
  const { accounts } = createAccounts(service, createPasswords())
  const model = await makeUser(databaseUrl)
  return {
    databaseUrl,
    ownerSql,
    servers,
    disable: (user: User) =>
      disableUser(
        { sql: service.transactions, logSecurityEvent: () => {}, accounts },
        user.id,
        noActor,
      ),
    async epochsRead({ id }: User): Promise<number> {
      const [row] = await ownerSql<{ count: number }[]>`
        select count(*)::int from public.epoch_read where user_id = ${id}`
      return row!.count
    },
    /** Some rounds at a time, each with a user of its own, who has the model's password hash. */
    async inLanes(run: (user: User, round: number) => Promise<void>): Promise<void> {
      let begun = 0
      const lane = async () => {
        for (let round = begun++; round < rounds; round = begun++) {
          const user = { ...model, id: randomUUID(), email: `user-${round}@example.com` }
          await ownerSql`
            insert into token_ledger.user_account (user_id, email, password_hash, role)
            select ${user.id}, ${user.email}, password_hash, role
            from token_ledger.user_account
            where user_id = ${model.id}`
          await run(user, round)
        }
      }
      await Promise.all(Array.from({ length: lanes }, lane))
    },
    async [Symbol.asyncDispose]() {
      await service.close()
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()))
      await database[Symbol.asyncDispose]()
    },
  }
}
