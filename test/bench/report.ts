import { writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import type { Bench, Row, BenchTarget } from './bench.ts'

/** Prints the table to stdout and writes everything to `bench-results.json`. */
export function report({ rows, targets, facts, options }: Bench): void {
  console.log(
    table([
      ['', 'conn.', 'per s', 'p50 ms', 'p99 ms', 'Node CPU', 'Postgres CPU', 'load CPU'],
      ...rows.map(cells),
    ]),
  )
  console.log('CPU: seconds for 1,000 answers. Medians of the rounds.\n')
  console.log(table([['target', 'wanted', 'measured', ''], ...targets.map(verdict)]))
  console.log(
    Object.entries(facts)
      .map(([name, value]) => `${name}: ${number(value)}`)
      .join('\n'),
  )
  const machine = {
    node: process.version,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
  }
  const results = { at: new Date().toISOString(), machine, options, rows, targets, facts }
  writeFileSync('bench-results.json', `${JSON.stringify(results, null, 2)}\n`)
}

export function isReached({ value, atLeast = -Infinity, atMost = Infinity }: BenchTarget): boolean {
  return value >= atLeast && value <= atMost
}

function verdict(target: BenchTarget): string[] {
  const wanted = target.atLeast === undefined ? `≤ ${target.atMost}` : `≥ ${target.atLeast}`
  return [target.name, wanted, number(target.value), isReached(target) ? 'reached' : 'missed']
}

function cells(row: Row): string[] {
  const { name, connections, perSecond, p50Ms, p99Ms, nodeCpu, postgresCpu, loadCpu } = row
  const numbers = [perSecond, p50Ms, p99Ms, nodeCpu, postgresCpu, loadCpu].map(number)
  return [name, String(connections), ...numbers]
}

function number(value: number): string {
  if (Number.isNaN(value)) return '–'
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)
}

function table(lines: readonly string[][]): string {
  const widths = lines[0]!.map((_cell, i) => Math.max(...lines.map((line) => line[i]!.length)))
  return `${lines
    .map((line) =>
      line
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join('  '),
    )
    .join('\n')}\n`
}
