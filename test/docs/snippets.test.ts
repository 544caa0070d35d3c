import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { packages } from '../../.ci/packages.ts'
import { procedures } from '../support/procedures.ts'
import { blocksOf, codeIn, readPage, readPages, rowsOf, sectionOf, type Block } from './pages.ts'

const run = promisify(execFile)

/** Ignored by git, and not among what `npm run typecheck` and the other tools read. */
const folder = 'test/.docs-snippets'

/** One run of the compiler over all that the blocks import, on a machine that is busy with other tests. */
const timeout = 180_000

test(
  'every TypeScript block compiles, and tables of names are those of the types',
  { timeout },
  async () => {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder)
    try {
      const blocks = readPages()
        .flatMap(blocksOf)
        .filter(({ language, flag }) => ['ts', 'tsx'].includes(language) && flag !== 'ignore')
        .filter((block) => !isQuote(block))
      expect(blocks.length).toBeGreaterThan(0)
      const consoleTypes = blocks.filter(({ page }) => page === 'docs/reference/console.md')
      expect(consoleTypes).toHaveLength(1)
      for (const { page, line, language, text } of blocks) {
        // Its types are those of the same answers, and need those of the other page.
        if (page === 'docs/reference/console.md') continue
        // So that a line of the compiler's names the page and its line.
        const before = '\n'.repeat(line - 1)
        const after =
          page === 'docs/reference/http.md' ? `\n${consoleTypes[0]?.text}\n${answerChecks()}` : ''
        write(`${page.replaceAll('/', '+')}.${line}.${language}`, before + text + after)
      }
      write('names.ts', nameChecks())
      write('tsconfig.json', JSON.stringify(settings()))
      expect(await problemsOf(`${folder}/tsconfig.json`)).toEqual([])
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)

test('a block that names a file of an example is what stands there', () => {
  const quotes = readPages().flatMap(blocksOf).filter(isQuote)
  expect(quotes.length).toBeGreaterThan(0)
  for (const { page, line, flag, text } of quotes) {
    const isThere = `\n${readFileSync(flag, 'utf8')}`.includes(`\n${text}\n`)
    expect({ quote: `${page}:${line}`, of: flag, isThere }).toMatchObject({ isThere: true })
  }
})

/** "```ts client/examples/next/proxy.ts": the packages that it needs are not installed here. */
const isQuote = ({ flag }: Block) => flag.startsWith('client/examples/')

async function problemsOf(project: string): Promise<string[]> {
  const tsc = path.resolve('node_modules/.bin/tsc')
  const { stdout } = await run(tsc, ['-p', project, '--pretty', 'false']).catch(
    (failed: { stdout: string }) => failed,
  )
  return stdout.split('\n').filter((line) => line !== '')
}

/** What a page imports by a package's name is the source that the package is built from. */
function settings() {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    exports: Record<string, string | { types: string }>
  }
  const ofService = Object.entries(exports).flatMap(([entry, to]) =>
    typeof to === 'string'
      ? []
      : [[path.join('token-ledger', entry), to.types.replace(/^.*dist(.*)\.d\.ts$/, '../..$1.ts')]],
  )
  const ofOthers = Object.entries(packages).flatMap(([name, { entries }]) =>
    Object.entries(entries).map(([entry, source]) => [path.join(name, entry), `../../${source}`]),
  )
  const paths = [...ofService, ...ofOthers].map(([name, source]) => [name, [source]])
  return {
    extends: '../../tsconfig.json',
    compilerOptions: { paths: Object.fromEntries(paths), noUnusedLocals: false },
    include: ['*.ts', '*.tsx'],
  }
}

/** Each answer of docs/reference/http.md and that of its procedure can stand for one another. */
function answerChecks(): string {
  const rows = rowsOf(sectionOf(readPage('docs/reference/http.md'), 'Procedures'))
  const checks = rows.flatMap(([name = '', , answer = ''], i) => {
    const [procedure = ''] = codeIn(name)
    const [documented] = codeIn(answer)
    const found = procedures.find(({ url }) => url.replace(/^\/\w+\//, '') === procedure)
    if (found === undefined || found.type === 'subscription' || documented === undefined) return []
    const router = found.url.startsWith('/auth/') ? 'AuthRouter' : 'AppRouter'
    const steps = procedure.split('.').map((step) => `['${step}']`)
    return [
      `type Actual${i} = inferRouterOutputs<${router}>${steps.join('')}`,
      `export const documented${i} = (actual: Actual${i}): ${documented} => actual`,
      `export const actual${i} = (documented: ${documented}): Actual${i} => documented`,
    ]
  })
  expect(checks.length).toBeGreaterThan(3 * 20)
  return [
    "import type { inferRouterOutputs } from '@trpc/server'",
    "import type { AppRouter, AuthRouter } from 'token-ledger'",
    ...checks,
  ].join('\n')
}

/** Objects with the names of a table as keys: the compiler names what is missing and what is too much. */
function nameChecks(): string {
  const events = readPage('docs/reference/events.md')
  const metrics = readPage('docs/reference/metrics.md')
  const sql = readPage('docs/reference/sql.md')
  const firstCells = (rows: readonly (readonly string[])[]) =>
    rows.map(([name = '']) => codeIn(name)[0] ?? name)
  const reasons = firstCells(rowsOf(sectionOf(events, 'Reasons')))
  const isReplay = (reason: string) => ['same_attempt', 'grace_window'].includes(reason)
  const action = rowsOf(sectionOf(sql, 'View `token_audit.admin_actions`')).find(
    ([name]) => name === '`action`',
  )
  const securityEvents = rowsOf(sectionOf(metrics, 'Security events')).map(
    ([name = '', fields = '']) => `${codeIn(name)[0]}: ${keys(codeIn(fields))}`,
  )
  return `
import type { AdminAction } from '../../db/audit/admin-actions.ts'
import type { LedgerEvent, ReplayReason, RevocationReason } from '../../server/ledger/events.ts'
import type { SecurityEvent } from '../../server/observability/security-log.ts'

type FieldsOf<Name, One = SecurityEvent> = One extends { event: infer Names }
  // A subject is logged as the id of its user.
  ? Name extends Names ? Exclude<keyof One, 'event' | 'subject'> : never
  : never

export const kinds = ${keys(firstCells(rowsOf(sectionOf(events, 'Kinds'))))} satisfies Record<LedgerEvent['kind'], true>
export const replays = ${keys(reasons.filter(isReplay))} satisfies Record<ReplayReason, true>
export const revocations = ${keys(reasons.filter((one) => !isReplay(one)))} satisfies Record<RevocationReason, true>
export const actions = ${keys(codeIn(action?.[2] ?? ''))} satisfies Record<AdminAction['action'], true>
export const securityEvents = { ${securityEvents.join(', ')} } satisfies
  { [Name in SecurityEvent['event']]: Record<FieldsOf<Name>, true> }
`
}

function keys(names: readonly string[]): string {
  return `{ ${names.map((name) => `${name}: true`).join(', ')} }`
}

function write(name: string, text: string): void {
  writeFileSync(path.join(folder, name), text)
}
