import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { PoolFull } from '../../db/connection/bounded.ts'
import { askTogether } from '../../db/connection/together.ts'

/** Answers with the question's double, and keeps the sizes of the statements. */
function doubling() {
  const sizes: number[] = []
  const ask = askTogether(async (questions: readonly number[]) => {
    sizes.push(questions.length)
    await nextTurn()
    return questions.map((question) => question * 2)
  })
  return { ask, sizes }
}

test('questions of one turn of the event loop are asked in one statement, each gets its own answer', async () => {
  const { ask, sizes } = doubling()
  const numbers = Array.from({ length: 50 }, (_, i) => i)
  expect(await Promise.all(numbers.map(ask))).toEqual(numbers.map((n) => n * 2))
  expect(await ask(7)).toBe(14)
  expect(sizes).toEqual([50, 1])
})

test('one statement asks 64 questions at most', async () => {
  const { ask, sizes } = doubling()
  const numbers = Array.from({ length: 150 }, (_, i) => i)
  expect(await Promise.all(numbers.map(ask))).toEqual(numbers.map((n) => n * 2))
  expect(sizes).toEqual([64, 64, 22])
})

test('a statement that fails fails its own questions alone', async () => {
  const ask = askTogether(async (questions: readonly number[]) => {
    if (questions.includes(0)) throw new Error('canceled')
    return questions
  })
  const outcomes = await Promise.allSettled(Array.from({ length: 65 }, (_, i) => ask(i)))
  expect(outcomes.map(({ status }) => status)).toEqual([
    ...Array<string>(64).fill('rejected'),
    'fulfilled',
  ])
  expect(await ask(1)).toBe(1)
})

test('of 301 questions without an answer, the last is refused at once, and answers make room', async () => {
  const { ask } = doubling()
  const asked = Array.from({ length: 300 }, (_, i) => ask(i))
  await expect(ask(300)).rejects.toThrow(PoolFull)
  await Promise.all(asked)
  expect(await ask(300)).toBe(600)
})
