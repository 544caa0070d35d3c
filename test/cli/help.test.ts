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
      'newest first; --json gives a line each\n',
    stderr: '',
  })
})

test('sql --help is a question about the command, and none to the database', async () => {
  const { code, stdout } = await cli(nowhere, ['sql', '--help'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/^usage: token-ledger sql "select …"\n.*no wall/)
})

test('half a command tells the commands that begin so', async () => {
  const { code, stdout } = await cli(nowhere, ['keys', '--help'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/^usage: token-ledger <command>\n\n {2}keys rotate [^\n]+\n$/)
})

test.each([
  [[], 'a command is needed'],
  [['nonsense', 'list'], 'there is no command "nonsense"'],
  [['\u001b[2J\u202e'], String.raw`there is no command "\u001b[2J\u{202e}"`],
  [['toString'], 'there is no command "toString"'],
  [['keys'], 'there is no command "keys", but: keys rotate'],
  [['user', 'nothing'], /^there is no command "user nothing", but: user create, user disable, /],
  [['migrate', 'now'], /^Unexpected argument 'now'/],
])('%j is exit 3, and the first line says what is wrong', async (args, problem) => {
  const { code, stdout, stderr } = await cli(nowhere, args)
  expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
  const [first, second] = stderr.split('\n')
  if (typeof problem === 'string') expect(first).toBe(problem)
  else expect(first).toMatch(problem)
  expect(second).toMatch(/^usage: token-ledger /)
})
