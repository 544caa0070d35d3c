import { expect, test } from 'vitest'
import { cli } from '../support/cli.ts'

// No command here connects to the database.
const nowhere = 'postgres://nobody@127.0.0.1:1/none'

test.each(['--help', '-h', 'help', 'help nonsense'])(
  'token-ledger %s lists all commands on stdout',
  async (line) => {
    const { code, stdout, stderr } = await cli(nowhere, line.split(' '))
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^usage: token-ledger <command>\n\n {2}migrate /)
    expect(stdout).toContain('\n  keys rotate [--compromised] ')
  },
)

test.each(['sessions list --help', 'help sessions list', 'sessions list --status gone -h'])(
  'token-ledger %s describes that command',
  async (line) => {
    expect(await cli(nowhere, line.split(' '))).toEqual({
      code: 0,
      stdout:
        'usage: token-ledger sessions list [--user E|--user-id ID] [--status S] [--json]\n' +
        'lists sessions, newest first; --json prints one JSON object per line\n',
      stderr: '',
    })
  },
)

test('sql --help describes the command and does not ask the database', async () => {
  const { code, stdout } = await cli(nowhere, ['sql', '--help'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/^usage: token-ledger sql "select …"\n.*not a security boundary/)
})

test('half a command with --help lists the commands that begin with it', async () => {
  const { code, stdout } = await cli(nowhere, ['keys', '--help'])
  expect(code).toBe(0)
  expect(stdout).toMatch(
    /^usage: token-ledger <command>\n\n {2}keys rotate [^\n]+\n {2}keys log [^\n]+\n$/,
  )
})

test.each([
  ['no command', [], 'expected a command'],
  ['an unknown command', ['nonsense', 'list'], 'unknown command "nonsense"'],
  [
    'a command of control characters',
    ['\u001b[2J\u202e'],
    String.raw`unknown command "\u001b[2J\u{202e}"`,
  ],
  ['the name of a property', ['toString'], 'unknown command "toString"'],
  ['half a command', ['keys'], 'unknown command "keys"; known: keys rotate, keys log'],
  [
    'an unknown second word',
    ['user', 'nothing'],
    /^unknown command "user nothing"; known: user create, user disable, /,
  ],
  ['an argument too many', ['migrate', 'now'], /^Unexpected argument 'now'/],
])('%s exits 3, and the first line says what is wrong', async (_what, args, problem) => {
  const { code, stdout, stderr } = await cli(nowhere, args)
  expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
  const [first, second] = stderr.split('\n')
  if (typeof problem === 'string') expect(first).toBe(problem)
  else expect(first).toMatch(problem)
  expect(second).toMatch(/^usage: token-ledger /)
})
