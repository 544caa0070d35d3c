import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { StartTimeout, waitingFor } from '../../server/config/waiting.ts'

function listen() {
  const said: string[] = []
  return { said, sayAfterMs: 20, say: (line: string) => void said.push(line) }
}

test('a step that takes long says once what it waits for, and one that does not says nothing', async () => {
  const { said, ...wait } = listen()
  const what = () => 'a lock'
  expect(await waitingFor({ ...wait, what }, async () => 'done')).toBe('done')
  expect(said).toEqual([])
  await waitingFor({ ...wait, what }, () => sleep(200))
  expect(said).toEqual(['waiting for a lock'])
})

test('a step says what it waits for when that is known', async () => {
  const { said, ...wait } = listen()
  let found: string | null = null
  const work = async () => {
    await sleep(100)
    expect(said).toEqual([])
    found = 'pid 7'
    await sleep(100)
  }
  await waitingFor({ ...wait, what: () => found }, work)
  expect(said).toEqual(['waiting for pid 7'])
})

test('a step that takes longer than its bound is given up in one line', async () => {
  const { said, ...wait } = listen()
  const given = waitingFor({ ...wait, what: () => 'a lock', atMostMs: 50 }, () => sleep(60_000))
  await expect(given).rejects.toThrow(StartTimeout)
  await expect(given).rejects.toThrow('gave up after 0.05 s of waiting for a lock')
  expect(said).toEqual(['waiting for a lock'])
})
