import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, test } from 'vitest'

/**
 * The rooms from the roof down, and what each may import: rooms below it in this list, never one above.
 * `type x` allows only `import type` from x, and `x/*` allows x and every room inside it.
 *
 * Some rooms are loose files of a folder: see `roomOf`.
 */
const allowed: Record<string, readonly string[]> = {
  'client/console': ['client', 'client/base', 'client/react'],
  'client/examples': [],
  'client/react': ['client/base'],
  'client/server': ['client/base', 'client/credential'],
  'client/testing': ['client', 'client/base', 'type server/errors'],
  client: [
    'client/base',
    'client/calls',
    'client/credential',
    'client/lifecycle',
    'client/tabs',
    'type server/errors',
    'type server/procedures',
  ],
  'client/calls': ['client/base'],
  'client/lifecycle': ['client/base', 'client/tabs', 'type client/credential'],
  'client/credential': ['client/base'],
  'client/tabs': ['client/base'],
  'client/base': ['type server/errors', 'type server/procedures'],
  'server/cli': [
    'server/admin',
    'server/audit',
    'server/config',
    'server/embedded-postgres',
    'server/errors',
    'server/evidence',
    'server/ledger',
    'server/tokens',
    'server/users',
    'db/*',
  ],
  server: [
    'server/admin',
    'server/audit',
    'server/config',
    'server/embedded-postgres',
    'server/errors',
    'server/evidence',
    'server/http',
    'server/limits',
    'server/ledger',
    'server/observability',
    'server/procedures',
    'server/sessions',
    'server/tokens',
    'server/users',
    'server/verifier',
    'db/*',
  ],
  'server/http': [
    'server/config',
    'server/errors',
    'server/evidence',
    'type server/limits',
    'server/procedures',
    'type server/observability',
    'type server/sessions',
    'server/tokens',
    'server/verifier',
    'db',
    'db/connection',
    'type db/ledger',
  ],
  'server/procedures': [
    'server/admin',
    'server/audit',
    'type server/config',
    'server/errors',
    'type server/evidence',
    'server/ledger',
    'server/limits',
    'type server/observability',
    'server/sessions',
    'server/tokens',
    'server/users',
    'server/verifier',
    'db/*',
  ],
  'server/limits': [
    'server/errors',
    'server/ledger',
    'type server/observability',
    'db',
    'db/audit',
    'type db/connection',
  ],
  'server/admin': ['server/errors', 'server/sessions', 'server/tokens', 'server/users', 'db/*'],
  'server/sessions': [
    'server/errors',
    'server/ledger',
    'server/observability',
    'server/tokens',
    'type server/users',
    'server/verifier',
    'db',
    'db/connection',
    'db/ledger',
  ],
  'server/audit': ['server/errors', 'server/ledger', 'server/observability', 'db/*'],
  'server/evidence': ['server/observability', 'db/connection', 'db/evidence'],
  'server/tokens': ['type server/users', 'server/verifier', 'db', 'db/connection'],
  'server/users': ['server/errors', 'db', 'db/connection'],
  'server/observability': ['server/errors', 'type server/ledger'],
  'server/embedded-postgres': ['server/config'],
  'server/config': ['server/verifier', 'db', 'db/connection'],
  'db/audit': ['db', 'db/connection', 'type db/ledger', 'type server/ledger'],
  'db/ledger': ['db', 'db/connection', 'type server/ledger'],
  'db/evidence': ['db', 'db/connection'],
  db: ['db/connection', 'type server/ledger'],
  'db/connection': [],
  'server/errors': ['server/verifier'],
  'server/verifier': [],
  'server/ledger': [],
}

const importLine = /^(?:import|export)\s+(type\s)?[^'"]*?['"](\.{1,2}\/[^'"]+)['"]/gm
const dynamicImport = /\bimport\(\s*['"](\.{1,2}\/[^'"]+)['"]/g

describe.each(Object.keys(allowed))('%s', (room) => {
  test('imports only what it may', async () => {
    const may = new Set([room, ...(allowed[room] ?? []).flatMap(expanded)])
    const strays = (await sourcesOf(room)).flatMap(({ file, text }) =>
      importsOf(file, text)
        .filter(({ to, isType }) => {
          const target = roomOf(to)
          return !may.has(target) && !(isType && may.has(`type ${target}`))
        })
        .map(({ to }) => `${file} -> ${to}`),
    )
    expect(strays).toEqual([])
  })
})

test('every rule points down the list, so the rooms have no circle', () => {
  const rooms = Object.keys(allowed)
  const upward = rooms.flatMap((room, height) =>
    (allowed[room] ?? [])
      .flatMap(expanded)
      .map((rule) => rule.replace('type ', ''))
      .filter((target) => rooms.indexOf(target) <= height)
      .map((target) => `${room} -> ${target}`),
  )
  expect(upward).toEqual([])
})

test('no file imports itself by way of others, not even for a type', async () => {
  const sources = (await Promise.all(['server', 'db', 'client', 'test'].map(filesIn))).flat()
  const targets = new Map<string, string[]>()
  for (const file of sources)
    targets.set(
      file,
      importsOf(file, await readFile(file, 'utf8')).map(({ to }) => to),
    )
  // Takes away what imports nothing that is left, and what is imported by nothing that is left. Circles stay.
  for (let before = -1; before !== targets.size;) {
    before = targets.size
    for (const [file, imported] of targets)
      if (!imported.some((to) => targets.has(to))) targets.delete(file)
    const imported = new Set([...targets.values()].flat())
    for (const file of targets.keys()) if (!imported.has(file)) targets.delete(file)
  }
  expect([...targets.keys()]).toEqual([])
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
  const rooms = Object.keys(allowed).filter((room) => !room.startsWith('client'))
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

test('db/audit leaves the pool for transactions to sign-ins and refreshes', async () => {
  // `check`, `export` and `read-only-query` read in a transaction, on the pool that their caller hands in.
  const found = (await sourcesOf('db/audit')).filter(({ text }) =>
    /\btransactions\b/.test(codeOf(text)),
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
  const rooms = new Set(all.flat().map(roomOf))
  expect([...rooms].toSorted()).toEqual(Object.keys(allowed).toSorted())
})

async function filesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true })
  return names.filter((name) => /\.tsx?$/.test(name)).map((name) => path.join(folder, name))
}

async function sourcesOf(room: string): Promise<{ file: string; text: string }[]> {
  const files = (await filesIn(room.split('/')[0] ?? '')).filter((file) => roomOf(file) === room)
  return Promise.all(files.map(async (file) => ({ file, text: await readFile(file, 'utf8') })))
}

function codeOf(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
}

function importsOf(file: string, text: string): { to: string; isType: boolean }[] {
  const found = [
    ...Array.from(text.matchAll(importLine), ([, type, target]) => ({ type, target })),
    ...Array.from(text.matchAll(dynamicImport), ([, target]) => ({ type: undefined, target })),
  ]
  return found.map(({ type, target = '' }) => ({
    to: path.join(path.dirname(file), target),
    isType: type !== undefined,
  }))
}

/** `x/*` as the rooms it stands for. */
function expanded(rule: string): string[] {
  if (!rule.endsWith('/*')) return [rule]
  const folder = rule.slice(0, -2)
  return Object.keys(allowed).filter((room) => room === folder || room.startsWith(`${folder}/`))
}

/**
 * The folder a file is in, at most two deep; but loose files of `server/` and `client/` are two rooms
 * each: the parts put together on top, and at the bottom what all rooms may use.
 */
function roomOf(file: string): string {
  const [top = '', second = '', third] = file.split(path.sep)
  if (third !== undefined) return `${top}/${second}`
  if (top === 'server') return second === 'errors.ts' ? 'server/errors' : 'server'
  if (top !== 'client' || ['index.ts', 'auth-client.ts', 'trpc.ts'].includes(second)) return top
  return 'client/base'
}
