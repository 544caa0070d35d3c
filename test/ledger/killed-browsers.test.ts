import { expect, test } from 'vitest'
import { readPage } from '../docs/pages.ts'
import { endedBy, scenarios } from '../support/killed-browsers.ts'

test(
  'docs/security/killed-browsers.md has how many killed browsers sign their user out, and how many copied profiles are found, before and after attempts are named',
  { timeout: 180_000 },
  () => {
    const rows = scenarios.map((scenario) => ({
      name: scenario.name,
      before: endedBy(scenario, 'one attempt'),
      now: endedBy(scenario, 'all attempts'),
    }))
    expect(rows.map(({ name, now }) => [name, now])).toEqual(
      rows.map(({ name }) => [name, name.startsWith('honest') ? 0 : 100]),
    )
    const { text } = readPage('docs/security/killed-browsers.md')
    const lines = rows.map(({ name, before, now }) => `| ${name} | ${before} % | ${now} % |`)
    expect(lines.filter((line) => !text.includes(line))).toEqual([])
  },
)
