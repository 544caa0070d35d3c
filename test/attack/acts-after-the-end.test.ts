import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminEmail, attackedServer } from '../support/attacked-server.ts'
import { shutGate } from '../support/gate.ts'
import { mutate } from '../support/http.ts'
import { isBlocked } from '../support/locks.ts'
import { procedures } from '../support/procedures.ts'
import { startServer, type ServerProcess } from '../support/server.ts'
import { kindsOf, signIn, type BodySession } from '../support/sessions.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

const attacked = attackedServer({}, { mayShed: true })

/** A second process on the same database: a mutex of the first one does not keep it waiting. */
let other: ServerProcess
let boss: BodySession
beforeAll(async () => {
  other = await startServer(attacked.owner.url, { PUBLIC_URL: attacked.url })
  boss = await signIn(attacked, adminEmail)
})
afterAll(() => other[Symbol.asyncDispose]())

type World = { own: BodySession; victim: BodySession }

/** An input with which each mutation of `/trpc` would succeed. */
const inputs: Record<string, (world: World) => unknown> = {
  '/trpc/sessions.revoke': ({ own }) => ({ familyId: own.familyId }),
  '/trpc/sessions.revokeOthers': () => undefined,
  '/trpc/account.changePassword': () => ({
    currentPassword: testPassword,
    newPassword: 'another long sentence of words',
  }),
  '/trpc/admin.sessions.revoke': ({ victim }) => ({ familyId: victim.familyId, reason: 'test' }),
  '/trpc/admin.sessions.revokeMany': ({ victim }) => ({
    familyIds: [victim.familyId],
    reason: 'test',
  }),
  '/trpc/admin.users.create': () => ({ email: 'friend@example.com', role: 'admin' }),
  '/trpc/admin.users.setRole': ({ victim }) => ({ userId: victim.userId, role: 'admin' }),
  '/trpc/admin.users.disable': ({ victim }) => ({ userId: victim.userId }),
  '/trpc/admin.users.enable': ({ victim }) => ({ userId: victim.userId }),
  '/trpc/admin.users.revokeSessions': ({ victim }) => ({ userId: victim.userId, reason: 'test' }),
}

const mutations = procedures.filter(
  ({ url, type }) => url.startsWith('/trpc/') && type === 'mutation',
)

async function newAdmin(): Promise<BodySession> {
  return signIn(attacked, (await makeUser(attacked.owner.url, undefined, 'admin')).email)
}

describe('AD-01: every mutation asks about its caller again in its transaction, after the locks', () => {
  test.each(mutations)(
    '$url, called while its caller is being disabled, is refused and changes nothing',
    async ({ url }) => {
      const input = inputs[url]
      if (input === undefined) throw new Error(`add an input for ${url} to this test`)
      const rogue = await newAdmin()
      const world = { own: await signIn(attacked, rogue.email), victim: await signIn(attacked) }
      await attacked.sql`drop trigger if exists a_gate on token_ledger.token_event`
      const gate = await shutGate(attacked.sql, 'insert')
      const disabled = mutate(attacked.url, 'admin.users.disable', boss.accessToken, {
        userId: rogue.userId,
      })
      await waitFor(() => gate.firstWaiter())

      // The session is still active, and the role still admin: the first check lets the call through.
      const path = url.replace('/trpc/', '')
      const act = mutate(other.url, path, rogue.accessToken, input(world))
      const answered = act.then(({ status }) => `answered ${status}`)
      const blocked = waitFor(() => isBlocked(attacked)).then(() => 'waits')
      expect(await Promise.race([blocked, answered])).toBe('waits')
      await gate[Symbol.asyncDispose]()
      expect((await disabled).data).toMatchObject({ success: true, revoked: 2 })
      expect((await act).reason).toBe('access_token_revoked')

      const acts = await attacked.sql`
        select action from token_ledger.admin_action where actor_user_id = ${rogue.userId}`
      expect([...acts]).toEqual([])
      const ends = await attacked.sql`
        select reason from token_ledger.token_event where actor_user_id = ${rogue.userId}`
      expect([...ends]).toEqual([])
      const friends = await attacked.sql`
        select from token_ledger.user_account where email = 'friend@example.com'`
      expect(friends).toHaveLength(0)
    },
  )
})

test('AD-01: an act that begins while its actor is being demoted waits for the demotion, and is refused', async () => {
  const rogue = await newAdmin()
  const victim = await signIn(attacked)
  const demoting = await attacked.sql.reserve()
  // What admin.users.setRole does, up to its commit.
  await demoting`begin`
  await demoting`select from token_ledger.user_epoch where user_id = ${rogue.userId} for update`
  await demoting`
    update token_ledger.user_account set role = 'user' where user_id = ${rogue.userId}`
  const act = mutate(other.url, 'admin.sessions.revoke', rogue.accessToken, {
    familyId: victim.familyId,
    reason: 'test',
  })
  const answered = act.then(({ status }) => `answered ${status}`)
  const blocked = waitFor(() => isBlocked(attacked)).then(() => 'waits')
  expect(await Promise.race([blocked, answered])).toBe('waits')
  await demoting`commit`
  demoting.release()
  expect((await act).reason).toBe('role_required')
  expect(await kindsOf(attacked, victim.familyId)).toEqual(['issued'])
})

test('AD-01: of hundreds of acts that an admin has queued at two processes, none is carried out after the demotion', async () => {
  const rogue = await newAdmin()
  const { userId } = await makeUser(attacked.owner.url).then(({ id }) => ({ userId: id }))
  const reasons: (string | undefined)[] = []
  const queued = Array.from({ length: 300 }, async (_, i) => {
    const { url } = i % 2 ? attacked : other
    const change = { userId, role: i % 4 < 2 ? 'user' : 'admin' }
    const answer = await mutate(url, 'admin.users.setRole', rogue.accessToken, change)
    reasons.push(answer.reason)
  })
  const actsOf = async (actor: string) =>
    attacked.sql<{ id: number; action: string }[]>`
      select action_id::integer as id, action
      from token_ledger.admin_action
      where actor_user_id = ${actor}
      order by action_id`
  await waitFor(async () => (await actsOf(rogue.userId)).length > 3)
  const demotion = { userId: rogue.userId, role: 'user' }
  const headers = { authorization: `Bearer ${boss.accessToken}` }
  const demoted = await attacked.request('/trpc/admin.users.setRole', { headers, json: demotion })
  expect(demoted.status).toBe(200)
  await Promise.all(queued)

  const [last] = (await actsOf(boss.userId)).slice(-1)
  const acts = await actsOf(rogue.userId)
  expect(acts.filter(({ id }) => id > last!.id)).toEqual([])
  // Not all of them were carried out before the demotion, and each of those was refused for the role, or was shed.
  expect(reasons).toContain('role_required')
  const expected = new Set([undefined, 'role_required', 'service_unavailable'])
  expect(reasons.filter((reason) => !expected.has(reason))).toEqual([])
})
