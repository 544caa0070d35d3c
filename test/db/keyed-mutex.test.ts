import { expect, test, vi } from 'vitest'
import { createKeyedMutex, MutexFull, MutexTimeout } from '../../db/connection/keyed-mutex.ts'

test('work under one key runs in the order it came; work under another key does not wait', async () => {
  const runExclusive = createKeyedMutex()
  const seen: string[] = []
  let release = () => {}
  const held = new Promise<void>((resolve) => (release = resolve))
  const waiting = [
    runExclusive('a', () => held.then(() => seen.push('a1'))),
    runExclusive('a', async () => seen.push('a2')),
    runExclusive('a', async () => seen.push('a3')),
  ]
  await runExclusive('b', async () => seen.push('b'))
  expect(seen).toEqual(['b'])
  release()
  await Promise.all(waiting)
  expect(seen).toEqual(['b', 'a1', 'a2', 'a3'])
})

test('failed work does not affect the next under its key', async () => {
  const runExclusive = createKeyedMutex()
  const failed = runExclusive('a', () => Promise.reject(new Error('no')))
  const next = runExclusive('a', async () => 'yes')
  await expect(failed).rejects.toThrow('no')
  expect(await next).toBe('yes')
})

test('work that waits for five seconds fails and does not run; later work still waits for the lock', async () => {
  vi.useFakeTimers()
  try {
    const runExclusive = createKeyedMutex()
    const seen: string[] = []
    let release = () => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    const holding = runExclusive('a', () => held)
    const tooLong = runExclusive('a', async () => seen.push('too long')).catch(
      (error: unknown) => error,
    )
    await vi.advanceTimersByTimeAsync(4_000)
    const later = runExclusive('a', async () => seen.push('later'))
    await vi.advanceTimersByTimeAsync(1_000)
    expect(await tooLong).toBeInstanceOf(MutexTimeout)
    expect(seen).toEqual([])
    release()
    await Promise.all([holding, later])
    expect(seen).toEqual(['later'])
    expect(vi.getTimerCount()).toBe(0)
  } finally {
    vi.useRealTimers()
  }
})

test('with a bound, work beyond it fails at once under its key alone, and there is room again later', async () => {
  const runExclusive = createKeyedMutex({ maxWaiting: 2 })
  let release = () => {}
  const held = new Promise<void>((resolve) => (release = resolve))
  const waiting = [1, 2, 3].map((n) => runExclusive('a', () => held.then(() => n)))
  await expect(runExclusive('a', async () => 4)).rejects.toThrow(MutexFull)
  expect(await runExclusive('b', async () => 5)).toBe(5)
  release()
  expect(await Promise.all(waiting)).toEqual([1, 2, 3])
  expect(await runExclusive('a', async () => 6)).toBe(6)
})
