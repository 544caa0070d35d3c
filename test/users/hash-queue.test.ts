import { describe, expect, test, vi } from 'vitest'
import { createHashQueue } from '../../server/users/hash-queue.ts'

/** A queue with one slot, whose work ends when the test says so. */
function slowQueue(queueLimit: number) {
  const queue = createHashQueue({ concurrency: 1, queueLimit })
  const begun: string[] = []
  const refused: string[] = []
  const ends: (() => void)[] = []
  const add = (name: string, network?: string) =>
    void queue
      .run(() => {
        begun.push(name)
        return new Promise<void>((resolve) => ends.push(resolve))
      }, network)
      .catch((error: { reason?: string }) => refused.push(`${name} ${error.reason}`))
  const endOne = async () => {
    ends.shift()?.()
    await settled()
  }
  return { queue, begun, refused, add, endOne }
}

const settled = () => new Promise((resolve) => setImmediate(resolve))

describe('V23 PW-03 (ASVS 15.2.2): the queue of password hashes', () => {
  test('networks have their turns one after the other, each in order of arrival', async () => {
    const { begun, add, endOne } = slowQueue(10)
    for (let i = 1; i <= 4; i++) add(`flood ${i}`, '192.0.2.1')
    add('one', '198.51.100.1')
    add('other', '198.51.100.2')
    add('unknown')
    for (let i = 0; i < 7; i++) await endOne()
    expect(begun).toEqual(['flood 1', 'flood 2', 'one', 'other', 'unknown', 'flood 3', 'flood 4'])
  })

  test('while it is full, a network without a place takes the newest of the network that has most', async () => {
    const { queue, begun, refused, add, endOne } = slowQueue(3)
    for (let i = 1; i <= 4; i++) add(`flood ${i}`, '192.0.2.1')
    add('flood 5', '192.0.2.1')
    await settled()
    expect(refused).toEqual(['flood 5 service_unavailable'])
    add('one', '198.51.100.1')
    add('other', '198.51.100.2')
    await settled()
    expect(refused.slice(1)).toEqual(['flood 4 service_unavailable', 'flood 3 service_unavailable'])
    expect(queue.load()).toEqual({ active: 1, waiting: 3 })
    // Each network has one place now, and keeps it.
    add('third', '198.51.100.3')
    add('one again', '198.51.100.1')
    await settled()
    expect(refused.slice(3)).toEqual(['third service_unavailable', 'one again service_unavailable'])
    for (let i = 0; i < 4; i++) await endOne()
    expect(begun).toEqual(['flood 1', 'flood 2', 'one', 'other'])
    expect(queue.load()).toEqual({ active: 0, waiting: 0 })
  })

  test('after a wrong password, its network waits three times as long as the check took, and others go on', async () => {
    vi.useFakeTimers()
    try {
      const queue = createHashQueue({ concurrency: 2, queueLimit: 10 })
      const ended: string[] = []
      const check = (name: string, isRight: boolean, network?: string) =>
        queue
          .run(() => new Promise<boolean>((resolve) => setTimeout(resolve, 20, isRight)), network)
          .then(() => ended.push(`${name} ${performance.now() - startedAt}`))
      const startedAt = performance.now()
      const all = [
        check('guess 1', false, '192.0.2.1'),
        check('guess 2', false, '192.0.2.1'),
        check('guess 3', false, '192.0.2.1'),
        check('other 1', true, '198.51.100.1'),
        check('other 2', true, '198.51.100.1'),
        check('unknown 1', false),
        check('unknown 2', false),
      ]
      await vi.advanceTimersByTimeAsync(500)
      await Promise.all(all)
      expect(ended).toEqual([
        'guess 1 20',
        'guess 2 20',
        'other 1 40',
        'unknown 1 40',
        'other 2 60',
        'unknown 2 60',
        'guess 3 100',
      ])
      expect(queue.load()).toEqual({ active: 0, waiting: 0 })
    } finally {
      vi.useRealTimers()
    }
  })

  test('while a network waits after a wrong password, eight of its callers wait, and others have all places', async () => {
    vi.useFakeTimers()
    try {
      const queue = createHashQueue({ concurrency: 1, queueLimit: 10 })
      const check = (isRight: boolean, network: string) =>
        queue
          .run(() => new Promise<boolean>((resolve) => setTimeout(resolve, 20, isRight)), network)
          .catch((error: { reason: string }) => error.reason)
      const wrong = check(false, '192.0.2.1')
      await vi.advanceTimersByTimeAsync(21)
      expect(await wrong).toBe(false)
      const waiting = Array.from({ length: 8 }, () => check(true, '192.0.2.1'))
      expect(await check(true, '192.0.2.1')).toBe('too_many_attempts')
      const other = check(true, '198.51.100.1')
      await vi.advanceTimersByTimeAsync(21)
      expect(await other).toBe(true)
      await vi.advanceTimersByTimeAsync(1_000)
      expect(await Promise.all(waiting)).toEqual(waiting.map(() => true))
    } finally {
      vi.useRealTimers()
    }
  })
})
