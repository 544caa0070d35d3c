import { readdirSync, readFileSync } from 'node:fs'
import { TRPCError } from '@trpc/server'
import { getHTTPStatusCodeFromError } from '@trpc/server/http'
import { expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../../server/config/config.ts'
import { authErrors } from '../../server/errors.ts'
import { cli } from '../support/cli.ts'
import { procedures } from '../support/procedures.ts'
import { codeIn, readPage, rowsOf, sectionOf } from './pages.ts'

const http = readPage('docs/reference/http.md')

/** What the first cells of a table name. */
function namesIn(rows: readonly (readonly string[])[]): string[] {
  return rows.flatMap(([first = '']) => codeIn(first).slice(0, 1))
}

function sourcesIn(folder: string): string[] {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return files
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(`${folder}/${file}`, 'utf8'))
}

test('docs/reference/http.md has every procedure, and the fields of its input', () => {
  const rows = rowsOf(sectionOf(http, 'Procedures'))
  const documented = rows.map(([name = '', input = '']) => [
    codeIn(name)[0],
    Array.from(input.matchAll(/`(\w+)`(\??)/g), ([, field, mark]) => `${field}${mark}`).toSorted(),
  ])
  const called = procedures.map(({ url, fields, sample }) => [
    url.replace(/^\/\w+\//, ''),
    Object.keys(fields ?? {})
      .map((field) => (field in sample ? field : `${field}?`))
      .toSorted(),
  ])
  expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(called))
})

test('docs/reference/http.md has every reason with its status', () => {
  const rows = rowsOf(sectionOf(http, 'Reasons'))
  const documented = rows.map(([name = '', status]) => [codeIn(name)[0], Number(status)])
  const sent = Object.entries(authErrors).map(([reason, { trpc }]) => [
    reason,
    getHTTPStatusCodeFromError(new TRPCError({ code: trpc })),
  ])
  expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(sent))
})

test('docs/reference/cli.md has every command as its help does', async () => {
  const rows = rowsOf(sectionOf(readPage('docs/reference/cli.md'), 'Commands'))
  const documented = namesIn(rows)
  const { stdout } = await cli(null, ['--help'])
  const listed = stdout.split('\n').filter((line) => line.startsWith('  '))
  // A usage is followed by spaces up to a column, and by one where it is longer.
  const isListed = (usage: string) =>
    listed.some((line) => line.startsWith(`  ${usage}${usage.length < 60 ? '  ' : ' '}`))
  expect(documented.filter((usage) => !isListed(usage))).toEqual([])
  expect(documented).toHaveLength(listed.length)
})

/** Variables with their defaults and rules, as docs/reference/configuration.md has them. */
const variables = rowsOf(readPage('docs/reference/configuration.md').text).map(
  ([name = '', byDefault = '', rule = '']) => ({ name: codeIn(name)[0]!, byDefault, rule }),
)

test('docs/reference/configuration.md has every variable of the schema', () => {
  const schema = readFileSync('server/config/config.ts', 'utf8')
  const known = Array.from(schema.matchAll(/^\s+([A-Z][A-Z_]+): /gm), (match) => match[1]!)
  expect(known.length).toBeGreaterThan(20)
  expect(variables.map(({ name }) => name).toSorted()).toEqual(known.toSorted())
})

test('a default of docs/reference/configuration.md, when it is set, changes nothing', () => {
  const literal = variables.flatMap(({ name, byDefault }) => {
    const [value] = /^`[^`]+`/.test(byDefault) ? codeIn(byDefault) : []
    // Not those that depend on another variable.
    return value === undefined || /<|[A-Z]{2}/.test(value) ? [] : [{ name, value }]
  })
  expect(literal.length).toBeGreaterThan(12)
  for (const { name, value } of literal)
    expect([name, loadConfig({ [name]: value })]).toEqual([name, loadConfig({})])
})

test('a range of docs/reference/configuration.md is the one that is accepted', () => {
  const ranges = variables.flatMap(({ name, rule }) => {
    const [, min, max] = /^(\d+)–(\d+)/.exec(rule) ?? []
    return min === undefined ? [] : [{ name, min: Number(min), max: Number(max) }]
  })
  expect(ranges.length).toBeGreaterThan(6)
  // No idle time may exceed the absolute one.
  const room = { REFRESH_ABSOLUTE_SECONDS: String(365 * 24 * 3600), REFRESH_IDLE_SECONDS: '1' }
  const load = (name: string, value: number) => loadConfig({ ...room, [name]: String(value) })
  for (const { name, min, max } of ranges) {
    for (const value of [min, max]) expect(() => load(name, value)).not.toThrow()
    for (const value of [min - 1, max + 1]) {
      expect(() => load(name, value), `${name}=${value}`).toThrow(ConfigError)
      expect(() => load(name, value)).toThrow(new RegExp(`^${name}: `))
    }
  }
})

test('docs/reference/configuration.md has every value of a variable that takes a few', () => {
  const choices = variables.map((variable) => {
    const problem = problemOf(() => loadConfig({ [variable.name]: 'none of them' }))
    const listed = /expected (?:one of )?(".*)$/.exec(problem)?.[1] ?? ''
    return { ...variable, values: Array.from(listed.matchAll(/"([^"]+)"/g), (match) => match[1]!) }
  })
  expect(choices.filter(({ values }) => values.length > 0).length).toBeGreaterThan(4)
  for (const { name, byDefault, rule, values } of choices) {
    const documented = codeIn(byDefault + rule)
    expect([name, values.filter((value) => !documented.includes(value))]).toEqual([name, []])
  }
})

test('docs/reference/metrics.md has every message of the log', () => {
  const rows = rowsOf(sectionOf(readPage('docs/reference/metrics.md'), 'Other lines'))
  const documented = rows.map(([, message = '']) => codeIn(message)[0])
  const logged = [...sourcesIn('server'), ...sourcesIn('db')].flatMap((source) => [
    ...source.matchAll(
      /\blog(?:\.(?!child)\w+|\[\w+\])\((?:[^'()]|\([^()]*\)|'\w+')*, '([^']+)'\)/g,
    ),
    ...source.matchAll(/listenTextResolver: \(\) => '([^']+)'/g),
  ])
  expect(new Set(documented)).toEqual(new Set(logged.map((match) => match[1]!)))
})

function problemOf(load: () => unknown): string {
  try {
    load()
    return ''
  } catch (error) {
    return error instanceof Error ? error.message : ''
  }
}
