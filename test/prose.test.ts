import { readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from 'vitest'

/**
 * Plain English names the actor (client, caller, owner, process, transaction). These words stand in for one that
 * was not named, so comments, messages and docs have a budget of them. A budget may only shrink.
 */
const budgets: Record<string, number> = {
  client: 0,
  db: 0,
  server: 4,
  'drizzle/schema.sql': 1,
  'README.md': 0,
  docs: 6,
  'CHANGELOG.md': 0,
  'CONTRIBUTING.md': 0,
  'SECURITY.md': 0,
}

const vague = /\b(?:nobody|somebody|whoever|anybody|told|tells|of ours)\b/gi

/** "who has …" as a subject of its own; after a noun ("a user who has …") it is fine. */
const whoAsSubject =
  /(?:^|[.;:(]\s+|\b(?:and|but|by|for|from|of|or|than|that|to|what|when|with)\s+)who (?:has|have|had|is|was|were)\b/gim

test.each(Object.entries(budgets))(
  '%s stays within its budget of vague subjects',
  async (tree, budget) => {
    const found: string[] = []
    for (const file of await textFilesOf(tree))
      for (const prose of proseOf(file, await readFile(file, 'utf8')))
        for (const pattern of [vague, whoAsSubject])
          for (const [words] of prose.matchAll(pattern)) found.push(`${file}: ${words.trim()}`)
    expect(found.length > budget ? found : []).toEqual([])
  },
)

test('the words are found in comments and in messages, not in names', () => {
  const source = [
    '/** Nobody waits. */',
    "const nobody = lookUp('nobody') // who is told",
    'throw new Error(`${nobody} tells, by who has it`)',
    '// a user who has signed in',
  ].join('\n')
  const words = proseOf('a.ts', source).flatMap((prose) =>
    [vague, whoAsSubject].flatMap((pattern) => prose.match(pattern) ?? []),
  )
  expect(words.map((word) => word.trim())).toEqual([
    'Nobody',
    'told',
    'who is',
    'tells',
    'by who has',
  ])
})

/** Comments and messages of TypeScript; the whole text of everything else. */
function proseOf(file: string, text: string): string[] {
  if (!file.endsWith('.ts')) return [text]
  const tokens = text.matchAll(
    /\/\*[\s\S]*?\*\/|\/\/.*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g,
  )
  return Array.from(tokens, ([token]) => token)
    .map((token) => (token.startsWith('`') ? token.replaceAll(/\$\{[^}]*\}/g, '') : token))
    .map((token) => token.replaceAll(/^\s*(?:\/\*\*?|\*|\/\/)\s?/gm, ''))
    .filter((token) => token.includes(' '))
}

/** The text files of a folder, or the file itself; none where it does not exist. */
async function textFilesOf(tree: string): Promise<string[]> {
  const found = await stat(tree).catch(() => null)
  if (found === null) return []
  if (found.isFile()) return [tree]
  const names = await readdir(tree, { recursive: true })
  return names.filter((name) => /\.(?:ts|md|html)$/.test(name)).map((name) => path.join(tree, name))
}
