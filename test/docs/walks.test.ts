import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const page = readFileSync('docs/internals/architecture.md', 'utf8')

test('each step of a walk names a file, and something in it', () => {
  // A line may break after the colon.
  const steps = [...page.matchAll(/`([\w./-]+\.ts):\s+(\w+)`/g)]
  expect(steps.length).toBeGreaterThan(40)
  const lost = steps
    .filter(([, file = '', name = '']) => !defines(file, name))
    .map(([, file, name]) => `${file}: ${name}`)
  expect(lost).toEqual([])
})

test('every folder of code has its purpose in one line', () => {
  const rooms = [...page.matchAll(/^\| `([a-z-]+\/(?:[a-z-]+\/)?)` \|/gm)].map(([, room]) => room!)
  const folders = ['server', 'db', 'client'].flatMap((top) => [
    `${top}/`,
    ...readdirSync(top, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `${top}/${name}/`),
  ])
  expect(rooms.toSorted()).toEqual(folders.toSorted())
})

/** A function, a constant, or a member of an object that a factory returns. */
function defines(file: string, name: string): boolean {
  if (!existsSync(file)) return false
  const text = readFileSync(file, 'utf8')
  return new RegExp(
    `(?:function|const|class) ${name}\\b|^\\s+(?:async )?${name}(?:\\(|: )`,
    'm',
  ).test(text)
}
