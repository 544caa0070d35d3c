import { expect, test } from 'vitest'
import { readPage } from '../docs/pages.ts'
import { honest, ratesOf, thieves } from '../support/found-thieves.ts'

const percent = (number: number) => `${number} %`

test('docs/reference/rotation.md has how many thieves the rules find, before and after rule 6 compared callers', () => {
  const rows = thieves.map((scenario) => {
    const [before, now, end] = (['before', 'now', 'end'] as const).map((r) => ratesOf(scenario, r))
    return [scenario.name, before!.ended, now!.ended, now!.warned, end!.ended]
  })
  const [, second] = rows
  expect(rows[0]!.slice(1, 3)).toEqual([0, 100])
  expect(second!.slice(1)).toEqual([0, 0, 100, 100])
  expectTable(rows)
}, 120_000)

test('docs/reference/rotation.md has how many honest users the rules warn about, and none is signed out', () => {
  const rows = honest.map((scenario) => {
    const [now, end] = (['now', 'end'] as const).map((rules) => ratesOf(scenario, rules))
    expect([scenario.name, now!.ended]).toEqual([scenario.name, 0])
    return [scenario.name, now!.ended, now!.warned, end!.ended]
  })
  expectTable(rows)
}, 120_000)

function expectTable(rows: readonly (string | number)[][]): void {
  const { text } = readPage('docs/reference/rotation.md')
  const lines = rows.map(([name, ...rates]) =>
    ['', name, ...rates.map((rate) => percent(Number(rate))), ''].join(' | ').trim(),
  )
  expect(lines.filter((line) => !text.includes(line))).toEqual([])
}
