import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { mutations } from './list.ts'

test('every mutation finds its place exactly once and changes it', async () => {
  const lost: string[] = []
  for (const { name, file, find, replace } of mutations) {
    const places = (await readFile(file, 'utf8')).split(find).length - 1
    if (places !== 1 || find === replace) lost.push(`${name}: ${places} places in ${file}`)
  }
  expect(lost).toEqual([])
})

test('every mutation has a name of its own and tests that exist', () => {
  const names = mutations.map(({ name }) => name)
  expect(names).toEqual([...new Set(names)])
  for (const { tests } of mutations) {
    expect(tests.length).toBeGreaterThan(0)
    expect(tests.filter((file) => !existsSync(file))).toEqual([])
  }
})
