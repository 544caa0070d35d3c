import { expect, test } from 'vitest'
import { createTailBuffer } from '../../client/console/screens/ledger/tail-buffer.ts'

function bufferOf(capacity: number) {
  const frames: (() => void)[] = []
  const buffer = createTailBuffer<number>({ capacity, atNextFrame: (run) => frames.push(run) })
  let shown = 0
  buffer.subscribe(() => (shown += 1))
  const push = (from: number, to: number) => {
    for (let n = from; n <= to; n += 1) buffer.push(n)
  }
  return {
    buffer,
    push,
    frames,
    frame: () => frames.splice(0).forEach((run) => run()),
    times: () => shown,
  }
}

test('events are shown once a frame, each once and newest first', () => {
  const { buffer, push, frame, times } = bufferOf(10)
  push(1, 4)
  expect(buffer.view()).toEqual({ events: [], received: 0 })
  frame()
  push(5, 6)
  frame()
  expect(buffer.view()).toEqual({ events: [6, 5, 4, 3, 2, 1], received: 6 })
  expect(times()).toBe(2)
})

test('the oldest events are dropped, and all are counted', () => {
  const { buffer, push, frame } = bufferOf(3)
  push(1, 5)
  frame()
  push(6, 6)
  frame()
  expect(buffer.view()).toEqual({ events: [6, 5, 4], received: 6 })
})

test('a page that is hidden for long keeps no more than twice what it shows', () => {
  const { buffer, push, frames, frame } = bufferOf(3)
  push(1, 100_000)
  expect(frames).toHaveLength(1)
  frame()
  expect(buffer.view()).toEqual({ events: [100_000, 99_999, 99_998], received: 100_000 })
})

test('a filter holds for events that came before, that wait for a frame, and that come later', () => {
  const { buffer, push, frame } = bufferOf(10)
  push(1, 4)
  frame()
  push(5, 6)
  buffer.filter((n) => n % 2 === 0)
  expect(buffer.view().events).toEqual([4, 2])
  push(7, 8)
  frame()
  expect(buffer.view()).toEqual({ events: [8, 6, 4, 2], received: 8 })
})
