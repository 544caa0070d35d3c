import { drizzle } from 'drizzle-orm/postgres-js'
import { expect, test } from 'vitest'
import { builtOnce, type Has } from '../../db/connection/prepared.ts'

test('a statement is built once for each pool and each combination of the values that are given', () => {
  const built: string[] = []
  const statement = builtOnce((_db, has: Has<{ userId?: string | undefined; limit: number }>) => {
    const text = has('userId') ? 'of one user' : 'of all'
    built.push(text)
    return text
  })
  const [pool, other] = [drizzle.mock(), drizzle.mock()]
  expect(statement(pool, { limit: 1 })).toBe('of all')
  expect(statement(pool, { userId: undefined, limit: 2 })).toBe('of all')
  expect(statement(pool, { userId: 'a', limit: 1 })).toBe('of one user')
  expect(statement(pool, { userId: 'b', limit: 1 })).toBe('of one user')
  expect(built).toEqual(['of all', 'of one user'])
  expect(statement(other, { limit: 1 })).toBe('of all')
  expect(built).toEqual(['of all', 'of one user', 'of all'])
})
