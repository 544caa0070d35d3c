import { expect, test } from 'vitest'
import { instantOf, periodOf } from '../../server/cli/arguments.ts'
import { UsageError } from '../../server/cli/command.ts'
import { cli } from '../support/cli.ts'

// No command here connects to the database.
const nowhere = 'postgres://nobody@127.0.0.1:1/none'

test.each([
  ['2026-02-28', Date.UTC(2026, 1, 28)],
  ['2028-02-29', Date.UTC(2028, 1, 29)],
  ['2026-01-31T24:00:00Z', Date.UTC(2026, 1, 1)],
  ['2026-01-31T23:30:00-02:00', Date.UTC(2026, 1, 1, 1, 30)],
])('%s is a valid time', (text, at) => {
  expect(instantOf(text, '--from')).toBe(at)
})

test.each(['2026-02-29', '2026-02-31', '2026-04-31T10:00Z', '2100-02-29T00:00:00+01:00'])(
  '%s is refused: no calendar has that day',
  (text) => {
    expect(() => instantOf(text, '--from')).toThrow(
      new UsageError(`--from: ${text.slice(0, 10)} is not in the calendar`),
    )
  },
)

test('a period must end after it begins, in whatever time zones it is given', () => {
  const noon = '2026-01-31T12:00:00Z'
  expect(periodOf(noon, '2026-01-31T12:00:00.001Z')).toEqual({
    fromAt: Date.UTC(2026, 0, 31, 12),
    toAt: Date.UTC(2026, 0, 31, 12) + 1,
  })
  expect(periodOf(undefined, noon).fromAt).toBeNull()
  for (const to of [noon, '2026-01-31T13:00:00+01:00', '2026-01-30'])
    expect(() => periodOf(noon, to)).toThrow(UsageError)
})

test.each([
  ['export', '--from', '2026-02-31'],
  ['export', '--from', '2026-03-01', '--to', '2026-02-01'],
  ['archive', '--before', '2026-02-31', '--to', 'archive.jsonl'],
])('ledger %s %s %s … exits 3 before it connects to the database', async (...args) => {
  expect(await cli(nowhere, ['ledger', ...args])).toMatchObject({
    code: 3,
    stdout: '',
    stderr: expect.stringMatching(/^--[^\n]+\nusage: token-ledger ledger [^\n]+\n$/),
  })
})
