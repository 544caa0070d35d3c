import { expect, test } from 'vitest'
import { cli } from '../support/cli.ts'

// Nobody is asked.
const nowhere = 'postgres://nobody@127.0.0.1:1/none'

test.each([[['--help']], [['-h']], [['help']], [['help', 'nonsense']]])(
  '%j tells all commands, as data',
  async (args) => {
    const { code, stdout, stderr } = await cli(nowhere, args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^usage: token-ledger <command>\n\n {2}migrate /)
    expect(stdout).toContain('\n  keys rotate [--compromised] ')
  },
)

test.each([
  [['sessions', 'list', '--help']],
  [['help', 'sessions', 'list']],
  [['sessions', 'list', '--status', 'gone', '-h']],
])('%j tells that command', async (args) => {
  expect(await cli(nowhere, args)).toEqual({
    code: 0,
    stdout:
      'usage: token-ledger sessions list [--user E] [--status S] [--json]\n' +
      'lists sessions, newest first; --json prints one JSON object per line\n',
    stderr: '',
  })
})

test('sql --help is a question about the command, and none to the database', async () => {
  const { code, stdout } = await cli(nowhere, ['sql', '--help'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/^usage: token-ledger sql "select …"\n.*not a security boundary/)
})

test('half a command tells the commands that begin so', async () => {
  const { code, stdout } = await cli(nowhere, ['keys', '--help'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/^usage: token-ledger <command>\n\n {2}keys rotate [^\n]+\n$/)
})

test.each([
  [[], 'expected a command'],
  [['nonsense', 'list'], 'unknown command "nonsense"'],
  [['\u001b[2J\u202e'], String.raw`unknown command "\u001b[2J\u{202e}"`],
  [['toString'], 'unknown command "toString"'],
  [['keys'], 'unknown command "keys"; known: keys rotate'],
  [['user', 'nothing'], /^unknown command "user nothing"; known: user create, user disable, /],
  [['migrate', 'now'], /^Unexpected argument 'now'/],
])('%j is exit 3, and the first line says what is wrong', async (args, problem) => {
  const { code, stdout, stderr } = await cli(nowhere, args)
  expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
  const [first, second] = stderr.split('\n')
  if (typeof problem === 'string') expect(first).toBe(problem)
  else expect(first).toMatch(problem)
  expect(second).toMatch(/^usage: token-ledger /)
})
