import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from 'vitest'
import { readPage, rowsOf } from '../docs/pages.ts'

type Row = { readonly ids: readonly string[]; readonly files: readonly string[] }

const ids = /\b(?:[A-Z]{2}-\d\d|V\d{1,2})\b/g
/** A title that begins with what it proves, and with its clause where a standard has one. */
const titled = /['"`]((?:(?:[A-Z]{2}-\d\d|V\d{1,2})\b,? ?)+)/g

const page = 'docs/security/checklist.md'

/** Requirements by their ids, what they ask, links to the tests that prove them. */
function readRows(): Row[] {
  return rowsOf(readPage(page).text).flatMap(([first = '', , last = '']) => {
    const links = [...last.matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link!)
    const files = links.map((link) => path.posix.join(path.posix.dirname(page), link))
    return /^(?:[A-Z]{2}-\d\d|V\d)/.test(first) ? [{ ids: first.match(ids) ?? [], files }] : []
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

test('every requirement of docs/security/checklist.md has a test with its name in the file that is linked', async () => {
  const [rows, titles] = [readRows(), await readTitles()]
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

test('every test with the name of a requirement is linked in docs/security/checklist.md', async () => {
  const [rows, titles] = [readRows(), await readTitles()]
  const linked = new Set(
    rows.flatMap((row) => row.ids.flatMap((id) => row.files.map((file) => `${id} ${file}`))),
  )
  const missing = [...titles].flatMap(([file, found]) =>
    [...found].map((id) => `${id} ${file}`).filter((pair) => !linked.has(pair)),
  )
  expect(missing).toEqual([])
})

test('each requirement has one row', () => {
  const all = readRows().flatMap((row) => row.ids)
  expect(all.toSorted()).toEqual([...new Set(all)].toSorted())
})
