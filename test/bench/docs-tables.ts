import { readFileSync, writeFileSync } from 'node:fs'
import type { BenchTarget, Row } from './bench.ts'
import { isReached } from './report.ts'

// Writes the two tables of docs/performance.md from bench-results.json: npm run bench:docs

const page = 'docs/performance.md'

/** What a line measures, where its name does not say so. */
const explained: Readonly<Record<string, string>> = {
  bare: 'recorded bytes under new signatures, without our code and without a database',
  limit: 'one thread that does the work of `bare` and of `store`, and nothing else',
  ceiling: 'everything but the database, answered in batches',
  'one-by-one': 'without group commit',
  store: 'the same SQL without HTTP and signing',
}

const { rows, targets } = JSON.parse(readFileSync('bench-results.json', 'utf8')) as {
  rows: readonly Row[]
  targets: readonly BenchTarget[]
}

/** The rest are measured to be compared: the page has their ratios. */
const shown = new Set([...Object.keys(explained), 'rotation', 'sign-in', 'logout', 'me'])
const isFirst = ({ name, connections }: Row, i: number) =>
  i === rows.findIndex((row) => row.name === name && row.connections === connections)

const lines = rows
  .filter((row, i) => shown.has(row.name) && isFirst(row, i))
  .map(({ name, connections, perSecond, p50Ms, p99Ms, nodeCpu, postgresCpu }, i, all) => {
    const numbers = [perSecond, p50Ms, p99Ms, nodeCpu, postgresCpu].map(number)
    return [name === all[i - 1]?.name ? '' : titleOf(name), String(connections), ...numbers]
  })
const ratios = worstOfConsole(targets).map((target) => {
  const wanted = target.atLeast === undefined ? `≤ ${target.atMost}` : `≥ ${target.atLeast}`
  // As many digits as the targets have.
  const measured = Number(target.value.toFixed(2))
  return [target.name, wanted, `${measured}${isReached(target) ? '' : ' (missed)'}`]
})

const head = ['', 'connections', 'per second', 'p50 ms', 'p99 ms', 'Node CPU', 'Postgres CPU']
const withRows = replaceTable(readFileSync(page, 'utf8'), head, lines)
writeFileSync(page, replaceTable(withRows, ['ratio', 'target', 'measured'], ratios))

function titleOf(name: string): string {
  const what = explained[name]
  return what === undefined ? `\`${name}\`` : `\`${name}\`: ${what}`
}

/** Of what the console asks in two ledgers, only the question that the larger one slows down most. */
function worstOfConsole(all: readonly BenchTarget[]): readonly BenchTarget[] {
  const sizes = /, \d+ [kM] ÷ \d+ [kM]$/
  const ofConsole = all.filter(({ name }) => sizes.test(name)).toSorted((a, b) => b.value - a.value)
  const [worst] = ofConsole
  if (worst === undefined) return all
  const name = `${worst.name}: the slowest of the console's ${ofConsole.length} questions`
  return [...all.filter((target) => !ofConsole.includes(target)), { ...worst, name }]
}

/** Replaces the table with this head. */
function replaceTable(text: string, columns: readonly string[], cells: readonly string[][]) {
  const start = text.indexOf(lineOf(columns))
  if (start === -1) throw new Error(`${page} has no table with the head ${lineOf(columns)}`)
  const rule = `|${columns.map(() => '---').join('|')}|`
  const table = [lineOf(columns), rule, ...cells.map(lineOf)].join('\n')
  return text.slice(0, start) + table + text.slice(text.indexOf('\n\n', start))
}

function lineOf(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`.replace('|  |', '| |')
}

/** JSON has null where there was nothing to measure. */
function number(value: number | null): string {
  if (value === null) return '–'
  return value >= 100
    ? Math.round(value).toLocaleString('en')
    : String(Number(value.toPrecision(2)))
}
