import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, test } from 'vitest'

/** Who may import whom. `type x` allows only `import type` from x. */
const allowed: Record<string, readonly string[]> = {
  'server/ledger': ['server/ledger'],
  server: ['server', 'server/ledger', 'db'],
  db: ['db', 'type server/ledger'],
  client: ['client', 'type server'],
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
        if (!may.includes(to) && !(type !== '' && may.includes(`type ${to}`)))
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
  const layers = await Promise.all(['server', 'server/ledger', 'db'].map(sourcesOf))
  const found = layers
    .flat()
    .filter(({ text }) => /\bprocess\.(?:env|exit|exitCode)\b/.test(text))
    .map(({ file }) => file)
  expect(found.toSorted()).toEqual(programs)
})

test('the service speaks SQL in db alone', async () => {
  // Except what asks a Postgres whether it has started.
  const files = (await sourcesOf('server')).filter(({ file }) => !/embedded-postgres\//.test(file))
  const found = files.filter(({ text }) =>
    /`\s*(?:select|insert into|update|delete from|with)\s/i.test(codeOf(text)),
  )
  expect(found.map(({ file }) => file)).toEqual([])
})

test('the top level is short: what a user looks for, and what tools demand', async () => {
  const folders = (await readdir('.', { withFileTypes: true }))
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ name }) => name)
  const ours = ['client', 'db', 'drizzle', 'server', 'test']
  const made = ['node_modules', 'dist']
  expect(folders.filter((name) => ![...ours, ...made].includes(name))).toEqual([])
})

async function sourcesOf(layer: string): Promise<{ file: string; text: string }[]> {
  const names = await readdir(layer, { recursive: true }).catch(() => [])
  const files = names
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => path.join(layer, name))
    .filter((file) => layerOf(file) === layer)
  return Promise.all(files.map(async (file) => ({ file, text: await readFile(file, 'utf8') })))
}

function codeOf(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
}

function layerOf(file: string): string {
  return file.startsWith('server/ledger/') ? 'server/ledger' : (file.split('/')[0] ?? '')
}
