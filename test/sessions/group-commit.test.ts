import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createFamilyId } from '../../server/sessions/family-id.ts'
import { createRefreshToken, deriveRefreshTokenKeys } from '../../server/tokens/refresh-token.ts'
import { createCommitQueue, type CommitQueueOptions } from '../../server/sessions/group-commit.ts'
import { startApp } from '../support/app.ts'
import { beginSessions } from '../support/begun-sessions.ts'
import { auth } from '../support/http.ts'
import { testSecret } from '../support/server.ts'
import { kindsOf } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'

type Item = { readonly familyId: string; readonly name: string }

const item = (name: string, familyId = name): Item => ({ familyId, name })
const namesOf = (batch: readonly Item[]) => batch.map(({ name }) => name)

/** A queue whose batches the test settles, one after the other. */
function queueByHand(options: Partial<CommitQueueOptions<Item, string>> = {}) {
  const batches: { names: string[]; settle: () => Promise<void> }[] = []
  const queue = createCommitQueue<Item, string>({
    mayRetry: () => true,
    settle: (batch) =>
      new Promise((resolve) => {
        batches.push({
          names: namesOf(batch),
          settle: async () => {
            resolve(new Map(batch.map((one) => [one, `${one.name} settled`])))
            await sleep(0)
          },
        })
      }),
    ...options,
  })
  return { queue, batches }
}

test('a rotation that is alone is sent at once', () => {
  const { queue, batches } = queueByHand()
  void queue.submit(item('a'))
  expect(batches.map(({ names }) => names)).toEqual([['a']])
})

test('rotations that come while a batch is in the database go together in the next', async () => {
  const { queue, batches } = queueByHand()
  const answers = Promise.all(['a', 'b', 'c', 'd'].map((name) => queue.submit(item(name))))
  expect(batches.map(({ names }) => names)).toEqual([['a']])
  await batches[0]!.settle()
  expect(batches.map(({ names }) => names)).toEqual([['a'], ['b', 'c', 'd']])
  await batches[1]!.settle()
  expect(await answers).toEqual(['a settled', 'b settled', 'c settled', 'd settled'])
})

test('a half-full batch is sent beside a running one, and a third waits', () => {
  const { queue, batches } = queueByHand({ maxBatch: 4 })
  void queue.submit(item('a'))
  void queue.submit(item('b'))
  expect(batches.map(({ names }) => names)).toEqual([['a']])
  for (const name of ['c', 'd', 'e']) void queue.submit(item(name))
  expect(batches.map(({ names }) => names)).toEqual([['a'], ['b', 'c']])
  expect(queue.depth).toBe(2)
})

test('a batch that hangs does not hold back those behind it', async () => {
  const { queue, batches } = queueByHand()
  void queue.submit(item('hangs'))
  const behind = queue.submit(item('behind'))
  await expect.poll(() => batches.length).toBe(2)
  await batches[1]!.settle()
  expect(await behind).toBe('behind settled')
})

test('two tokens of one family are decided one after the other', async () => {
  const { queue, batches } = queueByHand({ maxBatch: 2 })
  for (const name of ['first', 'second', 'third']) void queue.submit(item(name, 'one family'))
  void queue.submit(item('other'))
  expect(batches.map(({ names }) => names)).toEqual([['first'], ['other']])
  await batches[1]!.settle()
  expect(batches).toHaveLength(2)
  await batches[0]!.settle()
  expect(batches[2]!.names).toEqual(['second'])
  await batches[2]!.settle()
  expect(batches[3]!.names).toEqual(['third'])
})

test('one item that fails does not fail its batch, and no item is settled twice', async () => {
  const settled: string[] = []
  const queue = createCommitQueue<Item, string>({
    mayRetry: () => true,
    settle: async (batch) => {
      await sleep(1)
      if (batch.some(({ name }) => name === 'poisoned')) throw new Error('poison')
      settled.push(...namesOf(batch))
      return new Map(batch.map((one) => [one, one.name]))
    },
  })
  const names = ['a', 'b', 'poisoned', 'c', 'd']
  const answers = await Promise.allSettled(names.map((name) => queue.submit(item(name))))
  expect(answers.map(({ status }) => status)).toEqual([
    'fulfilled',
    'fulfilled',
    'rejected',
    'fulfilled',
    'fulfilled',
  ])
  expect(settled).toEqual(['a', 'b', 'c', 'd'])
})

test('a batch with an unknown outcome is not retried', async () => {
  let tries = 0
  const queue = createCommitQueue<Item, string>({
    mayRetry: () => false,
    settle: async (batch) => {
      if (batch[0]!.name === 'first') return new Map(batch.map((one) => [one, '']))
      tries++
      throw new Error('the connection was lost')
    },
  })
  const names = ['first', 'a', 'b']
  const answers = await Promise.allSettled(names.map((name) => queue.submit(item(name))))
  expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected'])
  expect(tries).toBe(1)
})

test('the queue is bounded: when it is full the answer is 503 with Retry-After at once', async () => {
  const { queue, batches } = queueByHand({ maxWaiting: 2 })
  const keys = deriveRefreshTokenKeys([testSecret])
  await using app = await startApp(
    {},
    {
      rotate: async ({ token }) => {
        await queue.submit(item(token.familyId))
        throw new Error('never settled here')
      },
    },
  )
  const send = () => {
    const refreshToken = createRefreshToken(keys, createFamilyId(Date.now())).value
    return auth(app.url, 'refresh', { refreshToken })
  }
  const held = [send(), send(), send()]
  await expect.poll(() => queue.depth).toBe(2)
  // Nothing is settled meanwhile: this answer does not wait.
  const refused = await send()
  expect(refused).toMatchObject({ status: 503, reason: 'service_unavailable' })
  expect(refused.headers.get('retry-after')).toBe('1')
  expect(refused.body.error.data.retryAfterSeconds).toBe(1)

  await batches[0]!.settle()
  await expect.poll(() => batches.length).toBe(2)
  await batches[1]!.settle()
  await Promise.all(held)
})

test('twenty refreshes of one family wait, the next get 429 at once, and other families keep their places', async () => {
  const { queue, batches } = queueByHand({ maxWaiting: 40 })
  const crowd = Array.from({ length: 30 }, (_, i) => queue.submit(item(`${i}`, 'one family')))
  const refusals = crowd.slice(21).map((answer) => answer.catch((error: unknown) => error))
  for (const refusal of await Promise.all(refusals))
    expect(refusal).toMatchObject({ reason: 'too_many_attempts', extras: { retryAfterSeconds: 1 } })
  expect(queue.depth).toBe(20)
  const other = queue.submit(item('other'))
  await batches[0]!.settle()
  expect(batches[1]!.names).toEqual(['1', 'other'])
  await batches[1]!.settle()
  expect(await other).toBe('other settled')

  // A place is free again once its refresh is being decided.
  for (let i = 2; i <= 20; i++) await batches[i]!.settle()
  expect(await Promise.all(crowd.slice(0, 21))).toHaveLength(21)
  expect(queue.depth).toBe(0)
  void queue.submit(item('last', 'one family'))
  expect(batches.at(-1)!.names).toEqual(['last'])
})

test('a row that the database refuses fails its own rotation and no other', async () => {
  await using app = await startApp()
  const sessions = await beginSessions(app.owner.url, await makeUser(app.owner.url), 12)
  const poisoned = sessions[7]!
  await app.owner.ownerSql.unsafe(`
    create function public.poison() returns trigger language plpgsql as $$
    begin
      if new.family_id = '${poisoned.familyId}' then raise exception 'poison'; end if;
      return new;
    end $$;
    create trigger zz_poison before insert on token_ledger.token_event
    for each row execute function public.poison()`)

  const answers = await Promise.all(
    sessions.map(({ refreshToken }) => auth(app.url, 'refresh', { refreshToken })),
  )
  for (const [i, { status }] of answers.entries())
    expect(status, `session ${i}`).toBe(sessions[i] === poisoned ? 500 : 200)
  for (const { familyId } of sessions)
    expect(await kindsOf(app, familyId)).toEqual(
      familyId === poisoned.familyId ? ['issued'] : ['issued', 'rotated'],
    )
})

test('a family locked by another transaction delays no other family, and is answered 503 in the end', async () => {
  await using app = await startApp()
  const [locked, ...others] = await beginSessions(app.owner.url, await makeUser(app.owner.url), 30)
  const holder = await app.owner.ownerSql.reserve()
  await holder`begin`
  await holder`
    select from token_ledger.token_family where family_id = ${locked!.familyId} for update`

  let isAnswered = false
  const { refreshToken } = locked!
  const waiting = auth(app.url, 'refresh', { refreshToken }).finally(() => (isAnswered = true))
  // In the same batches as the locked one, again and again, and answered while it still waits.
  let tokens = others.map((session) => session.refreshToken)
  for (let round = 0; round < 5; round++) {
    const answers = await Promise.all(
      tokens.map((token) => auth(app.url, 'refresh', { refreshToken: token })),
    )
    expect(answers.map(({ status }) => status)).toEqual(others.map(() => 200))
    tokens = answers.map(({ data }) => data.refreshToken)
  }
  expect(isAnswered).toBe(false)

  const refused = await waiting
  expect(refused).toMatchObject({ status: 503, reason: 'service_unavailable' })
  expect(refused.headers.get('retry-after')).toBe('1')
  await holder`rollback`
  holder.release()
  expect(await kindsOf(app, locked!.familyId)).toEqual(['issued'])
  expect((await auth(app.url, 'refresh', { refreshToken })).status).toBe(200)
})
