import { readdir, readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'

type Row = { readonly ids: readonly string[]; readonly files: readonly string[] }

const ids = /\b(?:[A-Z]{2}-\d\d|V\d{1,2})\b/g
/** A title that begins with what it proves, and with its clause where a standard has one. */
const titled = /['"`]((?:(?:[A-Z]{2}-\d\d|V\d{1,2})\b,? ?)+)/g

/** The README's checklist: requirements, what they ask, links to the tests that prove them. */
async function readRows(): Promise<Row[]> {
  const readme = await readFile('README.md', 'utf8')
  const [, checklist = ''] = /### Checklist\n([^]*?)\n###? /.exec(readme) ?? []
  const lines = checklist.split('\n').filter((line) => /^\| (?:[A-Z]{2}-\d\d|V\d)/.test(line))
  return lines.map((line) => {
    const [first = '', , last = ''] = line.split(' | ')
    return {
      ids: first.match(ids) ?? [],
      files: [...last.matchAll(/\]\(([^)]+)\)/g)].map(([, file]) => file!),
    }
  })
}

/** What the titles of each test file begin with. */
async function readTitles(): Promise<Map<string, Set<string>>> {
  const titles = new Map<string, Set<string>>()
  const names = await readdir('test', { recursive: true })
  for (const file of names.map((name) => `test/${name.replaceAll('\\', '/')}`)) {
    if (!file.endsWith('.test.ts')) continue
    const text = await readFile(file, 'utf8')
    const found = [...text.matchAll(titled)].flatMap(([, begun]) => begun!.match(ids) ?? [])
    titles.set(file, new Set(found))
  }
  return titles
}

test('every requirement of the README has a test with its name in the file that is linked', async () => {
  const [rows, titles] = [await readRows(), await readTitles()]
  expect(rows.length).toBeGreaterThan(50)
  for (const row of rows) {
    expect([row.ids.length > 0, row.files.length > 0]).toEqual([true, true])
    for (const id of row.ids)
      expect([id, row.files.some((file) => titles.get(file)?.has(id))]).toEqual([id, true])
    for (const file of row.files)
      expect([row.ids, file, row.ids.some((id) => titles.get(file)?.has(id))]).toEqual([
        row.ids,
        file,
        true,
      ])
  }
})

test('every test with the name of a requirement is linked in the README', async () => {
  const [rows, titles] = [await readRows(), await readTitles()]
  const linked = new Set(
    rows.flatMap((row) => row.ids.flatMap((id) => row.files.map((file) => `${id} ${file}`))),
  )
  const missing = [...titles].flatMap(([file, found]) =>
    [...found].map((id) => `${id} ${file}`).filter((pair) => !linked.has(pair)),
  )
  expect(missing).toEqual([])
})

test('each requirement has one row', async () => {
  const all = (await readRows()).flatMap((row) => row.ids)
  expect(all.toSorted()).toEqual([...new Set(all)].toSorted())
})
