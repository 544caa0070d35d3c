import type { Sql } from 'postgres'
import { expect, test } from 'vitest'
import { readFamilies } from '../../db/ledger/families.ts'
import { startLedger } from '../support/ledger.ts'

test('a family that is archived between the two queries is read as unknown', async () => {
  await using ledger = await startLedger()
  const first = await ledger.start(await ledger.makeUser())
  await ledger.refresh(first)
  await ledger.refresh(first)
  const asked = [{ familyId: first.familyId, generation: 0 }]
  const { families } = await readFamilies(ledger.deps.sql, asked)
  expect(families.get(first.familyId)?.events.map(({ kind }) => kind)).toEqual([
    'issued',
    'rotated',
    'replayed',
  ])

  let questions = 0
  const archivedMeanwhile = new Proxy(ledger.deps.sql, {
    apply(sql: Sql, self, args: [TemplateStringsArray, ...unknown[]]) {
      const isQuestion = args[0].join('').includes('unnest')
      if (isQuestion && ++questions === 2) return Promise.resolve([])
      return Reflect.apply(sql, self, args) as unknown
    },
  })
  expect((await readFamilies(archivedMeanwhile, asked)).families.size).toBe(0)
  expect(questions).toBe(2)
})
