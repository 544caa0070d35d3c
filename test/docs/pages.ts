import { readdirSync, readFileSync } from 'node:fs'

/** A Markdown page of this repository, with its path from the root. */
export type Page = { readonly path: string; readonly text: string }

/** A fenced block: "```sql none" has the language `sql` and the flag `none`. */
export type Block = {
  readonly page: string
  /** Where its first line is in the page, from 1. */
  readonly line: number
  readonly language: string
  readonly flag: string
  readonly text: string
  /** The last line before it that is not empty. */
  readonly title: string
  /** The number of headings before it: two blocks with one number are in one section. */
  readonly section: number
}

export function readPage(path: string): Page {
  return { path, text: readFileSync(path, 'utf8') }
}

/** Every page of the repository; of the documentation when `folder` is `docs`. */
export function readPages(folder = '.'): readonly Page[] {
  const entries = readdirSync(folder, { withFileTypes: true }).filter(
    ({ name }) => !name.startsWith('.') && name !== 'node_modules' && name !== 'dist',
  )
  return entries.flatMap((entry) => {
    const path = folder === '.' ? entry.name : `${folder}/${entry.name}`
    if (entry.isDirectory()) return readPages(path)
    return path.endsWith('.md') ? [readPage(path)] : []
  })
}

export function blocksOf({ path, text }: Page): readonly Block[] {
  const blocks: Block[] = []
  let open: (Omit<Block, 'text'> & { indent: number; lines: string[] }) | null = null
  let title = ''
  let section = 0
  for (const [i, line] of text.split('\n').entries()) {
    const fence = /^( *)```(\w*) ?(.*)$/.exec(line)
    if (open !== null) {
      if (line.trim() !== '```') {
        open.lines.push(line.slice(open.indent))
        continue
      }
      const { indent: _, lines, ...block } = open
      blocks.push({ ...block, text: lines.join('\n') })
      open = null
    } else if (fence === null) {
      if (line.startsWith('#')) section += 1
      if (line.trim() !== '') title = line
    } else {
      const [, indent = '', language = '', flag = ''] = fence
      const about = { page: path, line: i + 2, language, flag, title, section }
      open = { ...about, indent: indent.length, lines: [] }
    }
  }
  if (open !== null) throw new Error(`${path}:${open.line}: this block has no end`)
  return blocks
}

/** What stands under a heading, which is given without its `#`, until the next one of its level or above. */
export function sectionOf({ path, text }: Page, heading: string): string {
  const lines = text.split('\n')
  const start = lines.findIndex((line) => /^#+ /.test(line) && line.replace(/^#+ /, '') === heading)
  if (start === -1) throw new Error(`${path} has no heading "${heading}"`)
  const level = /^#+/.exec(lines[start]!)![0].length
  const end = lines.findIndex((line, i) => i > start && new RegExp(`^#{1,${level}} `).test(line))
  return lines.slice(start + 1, end === -1 ? undefined : end).join('\n')
}

/** The rows of all tables in a text, as cells, without the titles of the columns. */
export function rowsOf(text: string): readonly (readonly string[])[] {
  const lines = text.split('\n').map((line) => (line.startsWith('|') ? cellsOf(line) : null))
  const isRule = (cells: readonly string[] | null | undefined) =>
    cells?.every((cell) => /^:?-+:?$/.test(cell)) ?? false
  return lines.flatMap((cells, i) =>
    cells === null || isRule(cells) || isRule(lines[i + 1]) ? [] : [cells],
  )
}

/** What a text has in backticks. */
export function codeIn(text: string): readonly string[] {
  return Array.from(text.matchAll(/`([^`]+)`/g), (match) => match[1]!)
}

function cellsOf(line: string): readonly string[] {
  const cells = line.replace(/\|\s*$/, '').split(/(?<!\\)\|/)
  return cells.slice(1).map((cell) => cell.trim().replaceAll(String.raw`\|`, '|'))
}
