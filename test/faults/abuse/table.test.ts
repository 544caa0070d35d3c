import { expect, test } from 'vitest'
import { brokenLimits, markdownOf, together, type Line, type Observed } from './table.ts'

/** Ten seconds in which each call took this long, with one slow refresh. */
function observed(ms: number, slowestMs: number, unserved = {}): Observed {
  const times = (count: number) => Array.from({ length: count }, () => ms)
  return {
    experience: {
      times: { refresh: [...times(49), slowestMs], 'sign-in': times(10), me: times(20) },
      unserved,
    },
    seconds: 10,
    residentBytes: ms * 1e6,
    used: {
      nodeSeconds: 5,
      postgresSeconds: 1,
      families: 10,
      events: 60,
      limits: 0,
      walBytes: 20_000,
    },
  }
}

const line = (perSecond: number, seen: Observed): Line => ({
  title: 'a flood',
  perSecond,
  answers: { '200': 3, '429': 9 },
  observed: seen,
})

test('others may wait twice the calm in the middle and four times at the end, and none may be refused', () => {
  const calm = observed(10, 50)
  expect(brokenLimits(calm, [line(50, observed(20, 200))])).toEqual([])
  expect(brokenLimits(calm, [line(50, observed(21, 201, { 'refresh 503': 2 }))])).toEqual([
    'a flood, 50 a second: refresh p50 2.10 × calm, refresh p99 4.02 × calm, sign-in p50 2.10 × calm, calls of others not served: 2',
  ])
})

test('beside 1,500 requests a second that are refused, others may wait four times the calm in the middle', () => {
  const calm = observed(10, 50)
  expect(brokenLimits(calm, [line(1_500, observed(40, 9_000, { 'me 503': 1 }))])).toEqual([])
  expect(brokenLimits(calm, [line(1_500, observed(41, 50))])).toEqual([
    'a flood, 1,500 a second: refresh p50 4.10 × calm, sign-in p50 4.10 × calm',
  ])
})

test('the calms before the attacks count as one', () => {
  const calm = together([observed(10, 50, { 'me 503': 1 }), observed(12, 50, { 'me 503': 2 })])
  expect(calm).toMatchObject({
    seconds: 20,
    residentBytes: 12e6,
    used: { nodeSeconds: 10, events: 120 },
    experience: { unserved: { 'me 503': 3 } },
  })
  expect(calm.experience.times.refresh).toHaveLength(100)
})

test('a row has rates, multiples of the calm, and the answers of both sides', () => {
  const block = markdownOf(observed(10, 50), [line(50, observed(25, 50, { 'me 503': 1 }))], {
    seconds: 10,
    load: 0.5,
  })
  expect(block).toContain(
    '| a flood | 50 | 3 × 200, 9 × 429 | 0.50, 0.10 | 25 | 1, 6, 0 | 2 | 25/50 | 2.5/1.0 | 25/25 | 2.5/2.5 | 1 × me 503 |',
  )
  expect(block).toContain(' cores, 10 seconds for each line, load average 0.5 before the run.')
  expect(block).toMatch(/calls of others not served: 1$/)
})
