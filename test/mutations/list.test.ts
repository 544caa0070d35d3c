import { existsSync, readdirSync, readFileSync } from 'node:fs'
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

test('a mutation of a migration is in the newest definition of its function, view or constraint', () => {
  const files = readdirSync('drizzle').filter((name) => /^\d.*\.sql$/.test(name))
  const defined = [
    /^create (?:or replace )?(?:function|view) ([\w.]+)/gim,
    /\bconstraint "?(\w+)"? check/gi,
  ]
  const newest = new Map<string, string>()
  for (const file of files.toSorted())
    for (const pattern of defined)
      for (const [, name = ''] of readFileSync(`drizzle/${file}`, 'utf8').matchAll(pattern))
        newest.set(name, `drizzle/${file}`)
  const stale = mutations.flatMap(({ name, file, find }) => {
    if (!file.startsWith('drizzle/')) return []
    const statements = readFileSync(file, 'utf8').split('--> statement-breakpoint')
    const [before = ''] = (statements.find((text) => text.includes(find)) ?? '').split(find)
    const [ofAltered, ofFunction, ofConstraint] = [/^alter function ([\w.]+)/gm, ...defined].map(
      (pattern) => [...(before + find).matchAll(pattern)].at(-1)?.[1],
    )
    const object = ofAltered ?? ofFunction ?? ofConstraint ?? ''
    const where = newest.get(object) ?? file
    return where <= file ? [] : [`${name}: ${object} is in ${where}`]
  })
  expect(stale).toEqual([])
})

test('every mutation has a name of its own and tests that exist', () => {
  const names = mutations.map(({ name }) => name)
  expect(names).toEqual([...new Set(names)])
  for (const { tests } of mutations) {
    expect(tests.length).toBeGreaterThan(0)
    expect(tests.filter((file) => !existsSync(file))).toEqual([])
  }
})
