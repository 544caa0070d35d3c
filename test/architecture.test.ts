import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, test } from 'vitest'

/**
 * The rooms from the top of the house down, and what each may use: rooms below it, never one above.
 * `type x` allows only `import type` from x.
 */
const allowed: Record<string, readonly string[]> = {
  'server/cli': [
    'server/admin',
    'server/audit',
    'server/config',
    'server/embedded-postgres',
    'server/errors',
    'server/tokens',
    'server/users',
    'db',
  ],
  server: ['server/*', 'db'],
  'server/http': [
    'server/config',
    'server/errors',
    'server/procedures',
    'type server/observability',
    'type server/sessions',
    'server/tokens',
    'server/verifier',
    'db',
  ],
  'server/procedures': [
    'server/admin',
    'server/audit',
    'type server/config',
    'server/errors',
    'type server/ledger',
    'type server/observability',
    'server/sessions',
    'server/tokens',
    'server/users',
    'server/verifier',
    'db',
  ],
  'server/admin': ['server/errors', 'server/sessions', 'server/users', 'db'],
  'server/sessions': [
    'server/errors',
    'server/ledger',
    'server/observability',
    'server/tokens',
    'type server/users',
    'server/verifier',
    'db',
  ],
  'server/audit': ['server/errors', 'server/ledger', 'server/observability', 'db'],
  'server/tokens': ['type server/users', 'db'],
  'server/users': ['server/errors', 'db'],
  'server/observability': ['server/errors', 'type server/ledger'],
  'server/embedded-postgres': ['server/config'],
  'server/config': ['db'],
  'server/verifier': [],
  'server/ledger': [],
  'server/errors': [],
  db: ['type server/ledger'],
  client: ['type server/errors', 'type server/procedures'],
}

const importLine = /^(?:import|export)\s+(type\s)?[^'"]*?['"](\.{1,2}\/[^'"]+)['"]/gm
const dynamicImport = /\bimport\(\s*['"](\.{1,2}\/[^'"]+)['"]/g

describe.each(Object.keys(allowed))('%s', (layer) => {
  test('imports only what it may', async () => {
    const strays: string[] = []
    for (const { file, text } of await sourcesOf(layer)) {
      const imports = [
        ...Array.from(text.matchAll(importLine), ([, type, target]) => ({ type, target })),
        ...Array.from(text.matchAll(dynamicImport), ([, target]) => ({ type: '', target })),
      ]
      for (const { type = '', target = '' } of imports) {
        const to = layerOf(path.join(path.dirname(file), target))
        const may = allowed[layer]!
        const isBelow = to === layer || may.includes(to)
        const isAny = may.includes('server/*') && to.startsWith('server/')
        if (!isBelow && !isAny && !(type !== '' && may.includes(`type ${to}`)))
          strays.push(`${file} -> ${target}`)
      }
    }
    expect(strays).toEqual([])
  })
})

test('the ledger is pure: no package, no clock, no randomness, no await', async () => {
  const impure =
    /from '[^.]|\bnew Date\(\)|\b(?:Date\.now|performance|Math\.random|random\w+|process|await|async)\b/m
  // A hash of the same bytes is the same hash.
  const hashing = "import { createHash } from 'node:crypto'"
  const found = (await sourcesOf('server/ledger')).filter(({ text }) =>
    impure.test(codeOf(text).replace(hashing, '')),
  )
  expect(found.map(({ file }) => file)).toEqual([])
})

test('only the two programs read the environment or end the process', async () => {
  const programs = ['server/cli/main.ts', 'server/main.ts']
  const rooms = Object.keys(allowed).filter((room) => room !== 'client')
  const found = (await Promise.all(rooms.map(sourcesOf)))
    .flat()
    .filter(({ text }) => /\bprocess\.(?:env|exit|exitCode)\b/.test(text))
    .map(({ file }) => file)
  expect(found.toSorted()).toEqual(programs)
})

test('the service speaks SQL in db alone', async () => {
  // Except what asks a Postgres whether it has started.
  const rooms = Object.keys(allowed).filter(
    (room) => room.startsWith('server') && room !== 'server/embedded-postgres',
  )
  const found = (await Promise.all(rooms.map(sourcesOf)))
    .flat()
    .filter(({ text }) =>
      /`\s*(?:select|insert into|update|delete from|with)\s/i.test(codeOf(text)),
    )
  expect(found.map(({ file }) => file)).toEqual([])
})

test('the top level is short: what a user looks for, and what tools demand', async () => {
  const folders = (await readdir('.', { withFileTypes: true }))
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ name }) => name)
  const ours = ['client', 'db', 'docs', 'drizzle', 'server', 'test']
  const made = ['node_modules', 'dist']
  expect(folders.filter((name) => ![...ours, ...made].includes(name))).toEqual([])
})

test('every file has a room, and every room has a rule', async () => {
  const all = await Promise.all(['server', 'db', 'client'].map((top) => filesIn(top)))
  const rooms = new Set(all.flat().map(layerOf))
  expect([...rooms].toSorted()).toEqual(Object.keys(allowed).toSorted())
})

async function filesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true })
  return names.filter((name) => /\.tsx?$/.test(name)).map((name) => path.join(folder, name))
}

async function sourcesOf(layer: string): Promise<{ file: string; text: string }[]> {
  const files = (await filesIn(layer.split('/')[0]!)).filter((file) => layerOf(file) === layer)
  return Promise.all(files.map(async (file) => ({ file, text: await readFile(file, 'utf8') })))
}

function codeOf(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
}

/** `server/errors.ts` is ground for all; other files of `server/` itself put the parts together. */
function layerOf(file: string): string {
  const [top = '', second = '', third] = file.split(path.sep)
  if (top !== 'server') return top
  if (second === 'errors.ts') return 'server/errors'
  return third === undefined ? 'server' : `server/${second}`
}
