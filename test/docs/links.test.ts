import { existsSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { blocksOf, readPages, type Page } from './pages.ts'

const pages = readPages()
const byPath = new Map(pages.map((page) => [page.path, page]))

/** A page that is longer than this has more than one kind of reader: split it. */
const maxLines: Readonly<Record<string, number>> = {
  'README.md': 160,
  'CONTRIBUTING.md': 60,
  'SECURITY.md': 30,
  'docs/README.md': 30,
  'docs/start.md': 90,
  'docs/performance.md': 115,
  'docs/guides/audiences.md': 40,
  'docs/guides/origins.md': 60,
  'docs/guides/apps.md': 50,
  'docs/guides/calls.md': 75,
  'docs/guides/console.md': 100,
  'docs/guides/frontend.md': 175,
  'docs/guides/audit.md': 190,
  'docs/guides/admin.md': 130,
  'docs/guides/database-logins.md': 80,
  'docs/guides/monitor.md': 110,
  'docs/guides/native.md': 70,
  'docs/guides/operate.md': 185,
  'docs/guides/own-users.md': 130,
  'docs/guides/user-ids.md': 45,
  'docs/guides/passwords.md': 50,
  'docs/guides/postgres.md': 110,
  'docs/guides/recover.md': 140,
  'docs/guides/react.md': 110,
  'docs/guides/replicas.md': 60,
  'docs/guides/server-rendering.md': 190,
  'docs/guides/shared-cluster.md': 40,
  'docs/guides/sql.md': 200,
  'docs/guides/svelte-vue.md': 50,
  'docs/guides/services.md': 170,
  'docs/guides/step-up.md': 115,
  'docs/guides/testing.md': 110,
  'docs/reference/access-token.md': 120,
  'docs/reference/cli.md': 120,
  'docs/reference/configuration.md': 120,
  'docs/reference/connection-strings.md': 120,
  'docs/reference/events.md': 145,
  'docs/reference/console.md': 110,
  'docs/reference/http.md': 240,
  'docs/reference/limits.md': 80,
  'docs/reference/metrics.md': 120,
  'docs/reference/rotation.md': 130,
  'docs/reference/sql.md': 175,
  'docs/security/abuse.md': 110,
  'docs/security/checklist.md': 115,
  'docs/security/killed-browsers.md': 40,
  'docs/security/not-done.md': 50,
  'docs/security/threat-model.md': 72,
  'docs/internals/architecture.md': 155,
  'docs/internals/glossary.md': 55,
  'docs/internals/releases.md': 55,
  'docs/internals/style.md': 80,
  'docs/internals/testing.md': 95,
}
const maxDecisionLines = 30

type Link = { readonly page: string; readonly line: number; readonly target: string }

test('every relative link leads to a file, and every anchor to a heading', () => {
  const links = pages.flatMap(linksOf)
  expect(links.length).toBeGreaterThan(100)
  const broken = links.filter((link) => !leadsSomewhere(link))
  expect(broken.map(({ page, line, target }) => `${page}:${line} ${target}`)).toEqual([])
})

test('every page of the documentation can be reached from README.md', () => {
  const reached = new Set<string>()
  const follow = (file: string) => {
    const page = byPath.get(file)
    if (page === undefined || reached.has(file)) return
    reached.add(file)
    for (const link of linksOf(page)) follow(fileOf(link))
  }
  follow('README.md')
  const lost = pages.filter((page) => page.path.startsWith('docs/') && !reached.has(page.path))
  expect(lost.map((page) => page.path)).toEqual([])
})

test('no page is longer than its reader wants', () => {
  const limits = { ...maxLines }
  for (const page of pages)
    if (/^docs\/decisions\/\d/.test(page.path)) limits[page.path] = maxDecisionLines
  const long = Object.entries(limits).flatMap(([file, limit]) => {
    const page = byPath.get(file)
    if (page === undefined) return [`${file} is missing`]
    const lines = page.text.trimEnd().split('\n').length
    return lines > limit ? [`${file}: ${lines} lines of ${limit}`] : []
  })
  expect(long).toEqual([])
})

test('a page of the documentation has a limit, or is a list', () => {
  const lists = new Set(['docs/decisions/README.md'])
  const free = pages.filter(
    ({ path: file }) =>
      file.startsWith('docs/') &&
      !/^docs\/decisions\/\d/.test(file) &&
      !(file in maxLines) &&
      !lists.has(file),
  )
  expect(free.map((page) => page.path)).toEqual([])
})

/** Links within the repository. */
function linksOf(page: Page): readonly Link[] {
  return proseOf(page).flatMap((line, i) => {
    const inline = line.matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g)
    const listed = line.matchAll(/^\[[^\]]+\]:\s+(\S+)/g)
    const targets = [...inline, ...listed].map((match) => match[1]!)
    return targets
      .filter((target) => !/^[a-z]+:/.test(target))
      .map((target) => ({ page: page.path, line: i + 1, target }))
  })
}

function leadsSomewhere(link: Link): boolean {
  const file = fileOf(link)
  const [, anchor] = link.target.split('#')
  if (file.startsWith('..') || !existsSync(file)) return false
  if (anchor === undefined) return true
  const page = byPath.get(file)
  return page !== undefined && anchorsOf(page).has(anchor)
}

function fileOf({ page, target }: Link): string {
  const [file = ''] = target.split('#')
  return file === '' ? page : path.posix.normalize(path.posix.join(path.posix.dirname(page), file))
}

/** The anchors that GitHub gives the headings of a page. */
function anchorsOf(page: Page): ReadonlySet<string> {
  const seen = new Map<string, number>()
  const anchors = new Set<string>()
  for (const line of proseOf(page, { withCode: true })) {
    const heading = /^#{1,6}\s+(.*?)\s*#*$/.exec(line)?.[1]
    for (const [, id] of line.matchAll(/<a (?:id|name)="([^"]+)"/g)) anchors.add(id!)
    if (heading === undefined) continue
    const text = heading.replaceAll(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    const slug = text
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, '')
      .replaceAll(' ', '-')
    const times = seen.get(slug) ?? 0
    seen.set(slug, times + 1)
    anchors.add(times === 0 ? slug : `${slug}-${times}`)
  }
  return anchors
}

/** The lines of a page with its fenced blocks emptied, and its code in backticks, too, unless it is wanted. */
function proseOf(page: Page, { withCode = false } = {}): readonly string[] {
  const lines = page.text.split('\n')
  for (const { line, text } of blocksOf(page)) {
    const count = text.split('\n').length
    lines.fill('', line - 1, line - 1 + count)
  }
  return withCode ? lines : lines.map((line) => line.replaceAll(/`[^`]*`/g, ''))
}
